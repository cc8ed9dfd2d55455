package host

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// Identity is who runs a Command. The zero Identity is root.
type Identity struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones. keepalived: none, unless set_supplementary_groups is there.
}

// LookupIdentity finds a user and a group by name or number. An empty group is the user's own; an empty user is this
// process's own.
func LookupIdentity(name, group string) (Identity, error) {
	id := Identity{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			if u, err = user.LookupId(name); err != nil {
				return Identity{}, fmt.Errorf("user %q does not exist", name)
			}
		}
		id.UID, id.GID = number32(u.Uid), number32(u.Gid)
	}
	if group == "" {
		return id, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		if g, err = user.LookupGroupId(group); err != nil {
			return Identity{}, fmt.Errorf("group %q does not exist", group)
		}
	}
	id.GID = number32(g.Gid)
	return id, nil
}

// Supplementary gives the groups that a user is in beside his own.
func Supplementary(name string) (groups []uint32) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	for _, id := range ids {
		groups = append(groups, number32(id))
	}
	return groups
}

func number32(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// ours tells that a Command needs no change of identity: this process has it, and no groups beside it.
func (id Identity) ours() bool {
	if os.Geteuid() != int(id.UID) || os.Getegid() != int(id.GID) || len(id.Groups) > 0 {
		return false
	}
	groups, err := os.Getgroups()
	return err == nil && (len(groups) == 0 || len(groups) == 1 && groups[0] == int(id.GID))
}
