package main

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// How memcached is used. It is asked before every page, so it must never be what a page waits for.
const (
	cacheTimeout = 100 * time.Millisecond
	cacheRest    = time.Second // after a failure it is not asked
	cacheTTL     = 60          // seconds; of everything in it
)

// cache is memcached, which may be away at any time: then nothing is found and nothing is kept.
type cache struct {
	client *memcache.Client
	rest   atomic.Int64 // until then (Unix nanoseconds) it is left alone
}

func newCache(addr string) *cache {
	c := &cache{client: memcache.New(addr)}
	c.client.Timeout, c.client.MaxIdleConns = cacheTimeout, 8
	return c
}

func (c *cache) close() { c.client.Close() }

// away tells whether memcached did not answer a moment ago.
func (c *cache) away() bool { return time.Now().UnixNano() < c.rest.Load() }

// note looks at the outcome of a request: whoever does not answer is left alone for a while.
func (c *cache) note(err error) bool {
	switch {
	case err == nil:
		return true
	case !errors.Is(err, memcache.ErrCacheMiss) && !errors.Is(err, memcache.ErrNotStored):
		c.rest.Store(time.Now().Add(cacheRest).UnixNano())
	}
	return false
}

func (c *cache) get(key string) (string, bool) {
	if c.away() {
		return "", false
	}
	item, err := c.client.Get(key)
	if !c.note(err) {
		return "", false
	}
	return string(item.Value), true
}

func (c *cache) set(key, value string) {
	if !c.away() {
		c.note(c.client.Set(&memcache.Item{Key: key, Value: []byte(value), Expiration: cacheTTL}))
	}
}

func (c *cache) remove(key string) {
	if !c.away() {
		c.note(c.client.Delete(key))
	}
}

// generationKey counts changes of the forum. The number is part of the key of every page, so that a change on one web
// server makes the pages of all of them anew, also a page that another one is about to store.
const generationKey = "generation"

// generation is the number of the forum's present state. It begins at the time of day: after memcached was started anew it
// is none that was there before.
func (c *cache) generation() (string, bool) {
	if n, ok := c.get(generationKey); ok {
		return n, true
	}
	if c.away() {
		return "", false
	}
	err := c.client.Add(&memcache.Item{Key: generationKey, Value: []byte(strconv.FormatInt(time.Now().UnixNano(), 10))})
	if err != nil && !errors.Is(err, memcache.ErrNotStored) { // not stored: another web server was first
		c.note(err)
		return "", false
	}
	return c.get(generationKey)
}

// changed makes every page that is kept an old one.
func (c *cache) changed() {
	if !c.away() {
		_, err := c.client.Increment(generationKey, 1)
		c.note(err)
	}
}
