package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jlaffaye/ftp"
)

// maxFile is the largest attachment, in bytes.
const maxFile = 1 << 20

// folder is where attachments lie: anonymous users may write there, and not at the root of the server.
const folder = "attachments/"

// ftpTimeout bounds a transfer as a whole.
const ftpTimeout = 5 * time.Second

// files is the FTP server, which may be away at any time: then every call is an error that says so.
type files struct{ addr string }

func (f files) dial(ctx context.Context) (*ftp.ServerConn, error) {
	conn, err := ftp.Dial(f.addr, ftp.DialWithContext(ctx), ftp.DialWithTimeout(ftpTimeout), ftp.DialWithShutTimeout(ftpTimeout))
	if err != nil {
		return nil, fmt.Errorf("reach the FTP server: %w", err)
	}
	if err := conn.Login("anonymous", "forum@example.org"); err != nil {
		conn.Quit()
		return nil, fmt.Errorf("log in to the FTP server: %w", err)
	}
	return conn, nil
}

// store keeps data under key, which nothing else has.
func (f files) store(ctx context.Context, key string, data []byte) error {
	conn, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Quit()
	if err := conn.Stor(folder+key, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("store an attachment: %w", err)
	}
	return nil
}

// fetch returns what is kept under key.
func (f files) fetch(ctx context.Context, key string) ([]byte, error) {
	conn, err := f.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Quit()
	resp, err := conn.Retr(folder + key)
	if err != nil {
		return nil, fmt.Errorf("fetch an attachment: %w", err)
	}
	defer resp.Close()
	if err := resp.SetDeadline(time.Now().Add(ftpTimeout)); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(resp, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("fetch an attachment: more than %d bytes", maxFile)
	}
	return data, err
}
