package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
)

// arrive lets a person log in, if the lab has a forum: on the real server that will die.
func (p *player) arrive() error {
	if p.lab.Forum == "" {
		return nil
	}
	p.do("a user logs in, writes and uploads")
	v, err := newVisitor(p.lab)
	if err != nil {
		return err
	}
	if err := v.choose(p.lab.Reals[fallen].String()); err != nil {
		return err
	}
	server, err := v.arrive()
	if err != nil {
		return fmt.Errorf("the user: %w", err)
	}
	p.user = v
	p.locked(func() {
		p.report.User = &UserReport{Address: v.from.String(), LoggedInOn: server, Attachment: attachmentSize}
	})
	return nil
}

// look lets the person look at the forum, and says what is not there.
func (p *player) look(when string) []string {
	if p.user == nil {
		return nil
	}
	c := p.user.look(when)
	p.locked(func() { p.report.User.Checks = append(p.report.User.Checks, c) })
	return c.Why()
}

// loseStores kills memcached and the FTP server, one after the other, while the person goes on.
func (p *player) loseStores(ctx context.Context) error {
	if err := p.lab.Signal("cache", syscall.SIGKILL, grace); err != nil {
		return err
	}
	if why := p.look("without memcached"); len(why) > 0 {
		return fmt.Errorf("without memcached: %s", strings.Join(why, ", "))
	}
	if err := p.lab.StartStore("cache"); err != nil {
		return err
	}
	if err := p.lab.Signal("files", syscall.SIGKILL, grace); err != nil {
		return err
	}
	if err := p.uploadRefused(); err != nil {
		return err
	}
	if err := p.lab.StartStore("files"); err != nil {
		return err
	}
	return p.lab.until(ctx, func([]Sight) error {
		if why := p.user.look("").Why(); len(why) > 0 {
			return fmt.Errorf("after the FTP server's return: %s", strings.Join(why, ", "))
		}
		return nil
	})
}

// uploadRefused wants an upload to be refused in words, with the text in the form, and the same text to be taken without the
// file.
func (p *player) uploadRefused() error {
	const text = "This one is typed once."
	form := map[string]string{"title": "No file", "text": text}
	refused, err := p.user.send(form, []byte("never stored"))
	if err != nil {
		return err
	}
	if refused.status != http.StatusServiceUnavailable || !bytes.Contains(refused.body, []byte(text+"</textarea>")) {
		return fmt.Errorf("without the FTP server an upload was answered by %d, or its text is lost", refused.status)
	}
	kept, err := p.user.send(form, nil)
	if err == nil && (kept.status != http.StatusOK || !strings.HasPrefix(kept.path, "/showtopic-")) {
		err = fmt.Errorf("without the FTP server a post without file was answered by %d", kept.status)
	}
	return err
}

// storeSteps are what is played in a lab with a third tier.
func (p *player) storeSteps() []step {
	if p.lab.Forum == "" {
		return nil
	}
	return []step{{name: "stores_down", title: "memcached is killed and returns, then the FTP server", during: p.loseStores, check: noFailure, expect: p.cfg.Lasts}}
}
