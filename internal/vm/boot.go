package vm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"vipd/internal/need"
)

// What the emulator inherits, as its descriptors.
const (
	textFD   = 3 // what the script prints
	filesFD  = 4 // a tar of /out
	initrdFD = 5
)

// commandLine is the kernel's. On a machine that is very busy the emulated timer is late for the look that the kernel takes at it, and
// that would be a panic.
const commandLine = "console=ttyS0 quiet panic=-1 no_timer_check"

// boot runs a machine to its end.
func (c Config) boot(ctx context.Context, k need.Kernel, rd initrd) (Result, error) {
	var result Result
	image, err := memoryFile(rd.content)
	if err != nil {
		return result, err
	}
	defer image.Close()
	text, textEnd, err := os.Pipe()
	if err != nil {
		return result, err
	}
	defer text.Close()
	defer textEnd.Close()
	files, filesEnd, err := os.Pipe()
	if err != nil {
		return result, err
	}
	defer files.Close()
	defer filesEnd.Close()

	var console bytes.Buffer
	ctx, stop := context.WithCancelCause(ctx)
	cmd := exec.CommandContext(ctx, emulator, c.arguments(k)...)
	cmd.Stdout, cmd.Stderr = &console, &console
	cmd.ExtraFiles = []*os.File{textEnd, filesEnd, image}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// The signal of Pdeathsig comes at the end of the thread that started the process: it must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		stop(nil)
		return result, err
	}
	textEnd.Close()
	filesEnd.Close()

	var errText, errFiles error
	var reading sync.WaitGroup
	reading.Go(func() { errText = result.readText(text, rd.mark, c.Output) })
	reading.Go(func() { result.Files, errFiles = readFiles(files) })
	reading.Wait()
	cause := context.Cause(ctx)
	stop(errors.New("the machine is done"))
	<-ended // killed, or gone by itself: what it said stands above
	result.Console = strings.ReplaceAll(console.String(), "\r", "")
	if cause != nil {
		return result, cause
	}
	return result, errors.Join(errText, errFiles)
}

// arguments is the emulator's command line.
func (c Config) arguments(k need.Kernel) []string {
	cpus, memory := max(c.CPUs, 1), c.Memory
	if memory == 0 {
		memory = defaultMemory
	}
	clock := []string{"-accel", "tcg,thread=multi", "-smp", strconv.Itoa(cpus)}
	if c.CountInstructions {
		// A fixed seed and date, so that hash seeds and what hangs on them repeat too.
		clock = []string{"-accel", "tcg", "-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2024-01-01,clock=vm"}
	}
	port := func(n, fd int) []string {
		return []string{"-chardev", fmt.Sprintf("file,id=port%d,path=/dev/fd/%d", n, fd), "-device", fmt.Sprintf("virtserialport,chardev=port%d,nr=%d", n, n)}
	}
	args := append(clock, "-nodefaults", "-no-user-config", "-cpu", "max", "-m", strconv.Itoa(memory), "-display", "none", "-no-reboot",
		"-serial", "file:/dev/fd/1", "-kernel", k.Image, "-initrd", fmt.Sprintf("/dev/fd/%d", initrdFD),
		"-append", commandLine, "-device", "virtio-serial-pci")
	args = append(args, port(1, textFD)...)
	return append(args, port(2, filesFD)...)
}

// memoryFile is a file without a name, so that none can be left.
func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "initrd")
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readText reads what the script prints up to the mark and the exit status behind it. The line end before the mark is
// not the script's.
func (r *Result) readText(from io.Reader, mark string, copyTo io.Writer) error {
	var all strings.Builder
	defer func() { r.Output = all.String() }()
	if copyTo == nil {
		copyTo = io.Discard
	}
	in := bufio.NewReader(from)
	blank := "" // lines that are shown when another follows
	for end := ""; ; {
		line, err := in.ReadString('\n')
		if status, found := strings.CutPrefix(line, mark+" "); found && err == nil {
			r.Status, err = strconv.Atoi(strings.TrimSpace(status))
			return err
		}
		if err != nil {
			all.WriteString(end + line)
			return fmt.Errorf("the machine ended before its script: %w", err)
		}
		line, found := strings.CutSuffix(line, "\n")
		all.WriteString(end + line)
		if end = ""; found {
			end = "\n"
		}
		if line == "" {
			blank += "\n"
			continue
		}
		if _, err := io.WriteString(copyTo, blank+line+"\n"); err != nil {
			return err
		}
		blank = ""
	}
}

func readFiles(from io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	for in := tar.NewReader(from); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, fmt.Errorf("files of the machine: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[path.Clean(h.Name)], err = io.ReadAll(in); err != nil {
			return files, fmt.Errorf("files of the machine: %w", err)
		}
	}
}
