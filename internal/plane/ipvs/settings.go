package ipvs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"vipd/internal/plane"
)

// sysctls is where the kernel has its settings, in the network namespace of who opens them.
const sysctls = "/proc/sys/net/ipv4/vs/"

var _ plane.Tuner = (*Plane)(nil)

// Settings implements plane.Tuner: those that this kernel has. lblc_expiration and lblcr_expiration come with their
// schedulers.
func (p *Plane) Settings() (all map[string]uint32, err error) {
	err = p.within(func() (err error) { all, err = p.settings(); return err })
	return all, err
}

func (p *Plane) settings() (map[string]uint32, error) {
	all := map[string]uint32{}
	for _, s := range plane.Settings {
		if s.Own {
			continue
		}
		file, at := fileOf(s.Name)
		raw, err := os.ReadFile(p.sysctls + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.Name, err)
		}
		numbers := strings.Fields(string(raw))
		if len(numbers) <= at {
			return nil, fmt.Errorf("read %s: %.40q is no number", s.Name, raw)
		}
		n, err := strconv.ParseInt(numbers[at], 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("read %s: %.40q is no number", s.Name, raw)
		}
		all[s.Name] = uint32(n)
	}
	return all, nil
}

// fileOf is where the kernel has a setting, and which of the file's numbers it is.
func fileOf(name string) (file string, at int) {
	if name == "sync_period" {
		return "sync_threshold", 1
	}
	return name, 0
}

// textOf is what is written for a setting: two numbers, of which the other one stays, or one.
func (p *Plane) textOf(name string, value uint32) (string, error) {
	if file, _ := fileOf(name); file != "sync_threshold" {
		return strconv.FormatUint(uint64(value), 10), nil
	}
	all, err := p.settings()
	if err != nil {
		return "", err
	}
	all[name] = value
	threshold, period := all["sync_threshold"], all["sync_period"]
	return fmt.Sprintf("%d %d", threshold, period), plane.CheckThreshold(threshold, period)
}

// Set implements plane.Tuner.
func (p *Plane) Set(name string, value uint32) error {
	s, err := plane.CheckSetting(name, value)
	if err != nil {
		return err
	}
	if s.Own {
		return fmt.Errorf("%s: %w", name, plane.ErrUnsupported)
	}
	err = p.within(func() error {
		text, err := p.textOf(name, value)
		if err != nil {
			return err
		}
		file, _ := fileOf(name)
		return writeExisting(p.sysctls+file, text)
	})
	switch {
	case errors.Is(err, plane.ErrRange):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: this kernel has it not: %w", name, plane.ErrUnsupported)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s %d: %w", name, value, plane.ErrRange)
	case err != nil:
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

// writeExisting writes a file that must be there.
func writeExisting(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
