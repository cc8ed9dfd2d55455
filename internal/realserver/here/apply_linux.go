package here

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vipd/internal/host"
	"vipd/internal/realserver"
)

// stateFile remembers what was done on this host. It outlives a boot, as files do that were written; what a boot has taken
// back is found so by undo.
const stateFile = "/var/lib/vipd/realserver.json"

// done is the state: steps in the order in which they were done, and files with what stood there before.
type done struct {
	Steps []realserver.Step `json:"steps"`
	Files []written         `json:"files,omitempty"`
}

type written struct {
	Path string  `json:"path"`
	Text string  `json:"text"`
	Was  *string `json:"was,omitempty"` // nil: there was no such file
}

func loadState(path string) (d done, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		err = fmt.Errorf("read the state %s: %w", path, err)
	}
	return d, err
}

// save writes the state whole or not at all.
func (d *done) save(path string) error {
	if len(d.Steps)+len(d.Files) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the place of the state: %w", err)
	}
	part := path + ".new"
	if err := os.WriteFile(part, b, 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return os.Rename(part, path)
}

// execute does what is planned, each step remembered before it is done. A step that fails is taken out of the state again,
// and ends it: what was done until then stays, for undo.
func execute(state string, p plan) error {
	if os.Geteuid() != 0 {
		return errors.New("--apply needs root")
	}
	d, err := loadState(state)
	if err != nil {
		return err
	}
	for _, s := range p.Steps {
		s, err := remembered(s)
		if err != nil {
			return err
		}
		d.Steps = append(d.Steps, s)
		if err := d.save(state); err != nil {
			return err
		}
		if err := do(s); err != nil {
			d.Steps = d.Steps[:len(d.Steps)-1]
			return errors.Join(err, d.save(state))
		}
	}
	for _, f := range p.Files {
		if err := d.write(state, f); err != nil {
			return err
		}
	}
	return nil
}

// remembered fills in what was before.
func remembered(s realserver.Step) (realserver.Step, error) {
	if s.Sysctl == "" {
		return s, nil
	}
	b, err := os.ReadFile("/proc/sys/" + realserver.Path(s.Sysctl))
	if errors.Is(err, os.ErrNotExist) { // of an interface that a step before this one makes
		return s, nil
	}
	s.Was = strings.TrimSpace(string(b))
	return s, err
}

func do(s realserver.Step) error {
	if s.Sysctl != "" {
		_, err := host.SetSysctl(realserver.Path(s.Sysctl), s.Value)
		return err
	}
	return command(s.Do)
}

// command runs one, this program itself where it is named.
func command(words []string) error {
	name := words[0]
	if name == "vipd" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		name = self
	}
	out, err := exec.Command(name, words[1:]...).CombinedOutput()
	switch text := strings.TrimSpace(string(out)); {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s: the program %s is missing", strings.Join(words, " "), words[0])
	case err != nil && text != "":
		return fmt.Errorf("%s: %s", strings.Join(words, " "), text)
	case err != nil:
		return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
	}
	return nil
}

func (d *done) write(state string, f realserver.File) error {
	w := written{Path: f.Path, Text: f.Text}
	i := slices.IndexFunc(d.Files, func(o written) bool { return o.Path == f.Path })
	if b, err := os.ReadFile(f.Path); err == nil {
		was := string(b)
		w.Was = &was
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	if i >= 0 { // ours already: what was before the first time is what undo gives back
		w.Was = d.Files[i].Was
		d.Files[i] = w
	} else {
		d.Files = append(d.Files, w)
	}
	if err := d.save(state); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	if err := os.WriteFile(f.Path, []byte(f.Text), os.FileMode(f.Mode)); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	if strings.HasSuffix(f.Path, ".service") {
		return command(f.Then)
	}
	return nil
}

// takeBack undoes everything, the last first. What somebody else has changed since is left as it is, with a line about it.
func takeBack(state string, stdout io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("undo needs root")
	}
	d, err := loadState(state)
	if err != nil {
		return err
	}
	if len(d.Steps)+len(d.Files) == 0 {
		fmt.Fprintln(stdout, "nothing was done here, nothing is taken back")
		return nil
	}
	var errs []error
	var kept done
	for _, f := range slices.Backward(d.Files) {
		if err := f.back(stdout); err != nil {
			errs, kept.Files = append(errs, err), append([]written{f}, kept.Files...)
		}
	}
	for _, s := range slices.Backward(d.Steps) {
		if err := back(s, stdout); err != nil {
			errs, kept.Steps = append(errs, err), append([]realserver.Step{s}, kept.Steps...)
		}
	}
	return errors.Join(append(errs, kept.save(state))...)
}

func (w written) back(stdout io.Writer) error {
	b, err := os.ReadFile(w.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case string(b) != w.Text:
		fmt.Fprintf(stdout, "%s was changed since: it is left as it is\n", w.Path)
		return nil
	case w.Was != nil:
		return os.WriteFile(w.Path, []byte(*w.Was), 0o644)
	}
	if strings.HasSuffix(w.Path, ".service") {
		if err := command([]string{"systemctl", "disable", filepath.Base(w.Path)}); err != nil {
			return err
		}
	}
	return os.Remove(w.Path)
}

func back(s realserver.Step, stdout io.Writer) error {
	if s.Sysctl == "" {
		if s.Undo == nil {
			return nil
		}
		if err := command(s.Undo); err != nil && !gone(err) {
			return err
		}
		return nil
	}
	path := "/proc/sys/" + realserver.Path(s.Sysctl)
	b, err := os.ReadFile(path)
	switch now := strings.TrimSpace(string(b)); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case s.Was == "":
		return nil // the interface was made by a step, and goes with it
	case now != s.Value:
		fmt.Fprintf(stdout, "%s is %s now, not %s: it is left as it is\n", s.Sysctl, now, s.Value)
		return nil
	}
	_, err = host.SetSysctl(realserver.Path(s.Sysctl), s.Was)
	return err
}

// gone tells that what a command takes away is not there: a boot, or somebody, was quicker.
func gone(err error) bool {
	for _, text := range []string{"Cannot assign requested address", "Cannot find device", "No such process", "Address not found"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}
