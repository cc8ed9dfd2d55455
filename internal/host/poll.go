package host

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pollFile makes a non-blocking system call on a file's descriptor; where it would have to wait, the goroutine waits in
// the poller until the file is ready (ready is RawConn.Read or RawConn.Write) and the call is made again.
//
// A call that a signal broke off is repeated here and not by way of the poller: what is already there to be read wakes
// nobody.
func pollFile(f *os.File, ready func(syscall.RawConn, func(uintptr) bool) error, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	err = ready(conn, func(fd uintptr) bool {
		for fault = call(int(fd)); fault == unix.EINTR; {
			fault = call(int(fd))
		}
		return fault != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	return fault
}
