package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"time"
)

// The session's cookie, and how long a session lasts.
const (
	cookieName   = "session"
	sessionLasts = 24 * time.Hour
)

var errPassword = errors.New("that name belongs to somebody with another password")

// iterations of PBKDF2: enough for a demonstration, which a small machine plays.
const iterations = 50_000

func digest(password string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, iterations, 32)
}

// login begins a session. A name that nobody has yet becomes the user's.
func (f *forum) login(ctx context.Context, name, password string) (*http.Cookie, error) {
	salt := random()
	hash, err := digest(password, salt)
	if err != nil {
		return nil, err
	}
	oldSalt, oldHash, err := f.posts.secret(ctx, name, salt, hash)
	if err != nil {
		return nil, err
	}
	if hash, err = digest(password, oldSalt); err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(hash, oldHash) != 1 {
		return nil, errPassword
	}
	token := hex.EncodeToString(random())
	if err := f.posts.begin(ctx, sessionID(token), name, time.Now().Add(sessionLasts)); err != nil {
		return nil, err
	}
	f.cache.set("session:"+sessionID(token), name)
	return &http.Cookie{Name: cookieName, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(sessionLasts.Seconds())}, nil
}

func (f *forum) logout(r *http.Request) error {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	err = f.posts.end(r.Context(), sessionID(c.Value))
	f.cache.remove("session:" + sessionID(c.Value))
	return err
}

// user is who is logged in; empty: nobody. memcached knows it, or else the database, whichever web server began the session.
func (f *forum) user(r *http.Request) (string, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return "", nil
	}
	id := sessionID(c.Value)
	if name, ok := f.cache.get("session:" + id); ok {
		return name, nil
	}
	name, err := f.posts.whose(r.Context(), id)
	if errors.Is(err, errNone) {
		return "", nil
	}
	if err == nil {
		f.cache.set("session:"+id, name)
	}
	return name, err
}

// sessionID is what is kept of a session's token: who reads the database or memcached cannot use it.
func sessionID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func random() []byte {
	b := make([]byte, 16)
	rand.Read(b)
	return b
}
