package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"vipd/internal/control"
	"vipd/internal/health"
)

// StateDir is where an instance keeps what outlives a restart: STATE/NAME/.
const StateDir = "/var/lib/vipd"

// handsVersion is raised when the file could no longer be read by its meaning.
const handsVersion = 1

// maxHands bounds the file that is read.
const maxHands = 16 << 20

func (d *daemon) handsPath() string {
	return filepath.Join(d.opts.State, d.opts.Instance, "operator.json")
}

// handsFile is operator.json.
type handsFile struct {
	Version int        `json:"version"`
	Held    []handJSON `json:"held"`
}

type handJSON struct {
	control.Order
	since time.Time
	by    string
}

// handMore is what an entry has beside the order.
type handMore struct {
	Since time.Time `json:"since"`
	By    string    `json:"by,omitempty"`
}

func (h handJSON) MarshalJSON() ([]byte, error) {
	order, err := json.Marshal(h.Order)
	if err != nil {
		return nil, err
	}
	more, err := json.Marshal(handMore{h.since, h.by})
	if err != nil {
		return nil, err
	}
	return append(append(order[:len(order)-1], ','), more[1:]...), nil
}

func (h *handJSON) UnmarshalJSON(b []byte) error {
	var more handMore
	if err := json.Unmarshal(b, &more); err != nil {
		return err
	}
	h.since, h.by = more.Since, more.By
	return h.Order.UnmarshalJSON(b)
}

// parseHands reads operator.json. What it gives is as Hold would take it.
func parseHands(b []byte) ([]health.Held, error) {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, err
	}
	if version.Version != handsVersion {
		return nil, fmt.Errorf("version %d, expected %d: another vipd wrote it", version.Version, handsVersion)
	}
	var f handsFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	var all []health.Held
	seen := map[string]bool{}
	for i, o := range f.Held {
		h := health.Held{Service: o.Service, Real: o.Real, Hand: health.Hand{Do: health.HandDo(o.Do), Weight: o.Weight, Percent: o.Percent, Since: o.since, By: o.by}}
		if err := h.Check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if name := fmt.Sprint(h.Service, h.Service.V6, h.Real); seen[name] {
			return nil, fmt.Errorf("entry %d: %s of %s stands there twice", i+1, h.Real, h.Service)
		} else {
			seen[name] = true
		}
		all = append(all, h)
	}
	return all, nil
}

func formatHands(all []health.Held) ([]byte, error) {
	f := handsFile{Version: handsVersion}
	for _, h := range all {
		f.Held = append(f.Held, handJSON{control.Order{Do: string(h.Do), Service: h.Service, Real: netip.AddrPortFrom(h.Real.Addr(), h.Real.Port()),
			Weight: h.Weight, Percent: h.Percent}, h.Since, h.By})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	return append(b, '\n'), err
}

// readHands reads the file; none is nothing held.
func readHands(path string) ([]health.Held, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHands))
	if err == nil {
		var all []health.Held
		if all, err = parseHands(bytes.TrimSpace(b)); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("read %s: %w", path, err)
}

// writeHands replaces the file, so that a crash leaves the one before or the new one; with nothing held it goes.
func writeHands(path string, all []health.Held) error {
	if len(all) == 0 {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	b, err := formatHands(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replaceSynced(path, b)
}

// replaceSynced is replaceFile for what must be on the disk when it returns: the name is given when the text is there.
func replaceSynced(path string, b []byte) error {
	if err := replaceFile(path, b, (*os.File).Sync); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
