package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed schema.sql
var schema string

// posts is the database: the one place where what is written is kept.
type posts struct {
	pool  *pgxpool.Pool
	mu    sync.Mutex
	ready bool // the tables are there
}

// topic is a line of the list.
type topic struct {
	ID     int64
	Title  string
	Author string
	At     time.Time // of its last post
	Posts  int
}

// post is one text in a topic, with a file or without.
type post struct {
	ID     int64
	Topic  int64
	Author string
	Text   string
	At     time.Time
	Key    string // of its file on the FTP server; empty: it has none
	File   string // what its author called it
	Size   int
}

// foreignKey is the SQLSTATE of a reference to a row that is not there: a topic, for an author has a session.
const foreignKey = "23503"

var errNone = errors.New("there is no such thing")

// openPosts does not connect: the database may come later.
func openPosts(url string) (*posts, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("--posts: %w", err)
	}
	cfg.MaxConns = 6
	cfg.ConnConfig.ConnectTimeout = 2 * time.Second
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("--posts: %w", err)
	}
	return &posts{pool: pool}, nil
}

func (p *posts) close() { p.pool.Close() }

// prepared makes the tables where there are none. Statements without arguments go in one transaction, and the lock in it
// lets one web server do so at a time.
func (p *posts) prepared(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready {
		return nil
	}
	if _, err := p.pool.Exec(ctx, schema); err != nil {
		return fmt.Errorf("prepare the database: %w", err)
	}
	p.ready = true
	return nil
}

// topics lists the topics with the newest posts.
func (p *posts) topics(ctx context.Context) ([]topic, error) {
	if err := p.prepared(ctx); err != nil {
		return nil, err
	}
	rows, err := p.pool.Query(ctx, `SELECT t.id, t.title, t.author, max(p.at), count(*) FROM topic t JOIN post p ON p.topic = t.id
		GROUP BY t.id ORDER BY max(p.at) DESC, t.id DESC LIMIT 50`)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[topic])
}

// read returns a topic's title and its posts.
func (p *posts) read(ctx context.Context, id int64) (string, []post, error) {
	if err := p.prepared(ctx); err != nil {
		return "", nil, err
	}
	var title string
	err := p.pool.QueryRow(ctx, `SELECT title FROM topic WHERE id = $1`, id).Scan(&title)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, errNone
	}
	if err != nil {
		return "", nil, fmt.Errorf("read a topic: %w", err)
	}
	rows, err := p.pool.Query(ctx, `SELECT id, topic, author, text, at, key, file, size FROM post WHERE topic = $1 ORDER BY id`, id)
	if err != nil {
		return "", nil, fmt.Errorf("read a topic: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[post])
	return title, list, err
}

// write adds a post, to a new topic called title where n.Topic is 0, and returns the topic's number.
func (p *posts) write(ctx context.Context, title string, n post) (id int64, err error) {
	if err := p.prepared(ctx); err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if id = n.Topic; id == 0 {
			if err := tx.QueryRow(ctx, `INSERT INTO topic (title, author) VALUES ($1, $2) RETURNING id`, title, n.Author).Scan(&id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO post (topic, author, text, key, file, size) VALUES ($1, $2, $3, $4, $5, $6)`, id, n.Author, n.Text, n.Key, n.File, n.Size)
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == foreignKey {
		return 0, errNone
	}
	if err != nil {
		return 0, fmt.Errorf("write a post: %w", err)
	}
	return id, nil
}

// file finds the attachment of a post.
func (p *posts) file(ctx context.Context, id int64) (post, error) {
	if err := p.prepared(ctx); err != nil {
		return post{}, err
	}
	n := post{ID: id}
	err := p.pool.QueryRow(ctx, `SELECT key, file, size FROM post WHERE id = $1 AND key <> ''`, id).Scan(&n.Key, &n.File, &n.Size)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, errNone
	}
	return n, err
}

// secret returns what is kept of a user's password, and keeps what is given for a name that nobody has yet.
func (p *posts) secret(ctx context.Context, name string, salt, hash []byte) (oldSalt, oldHash []byte, err error) {
	if err := p.prepared(ctx); err != nil {
		return nil, nil, err
	}
	if _, err := p.pool.Exec(ctx, `INSERT INTO member (name, salt, hash) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, name, salt, hash); err != nil {
		return nil, nil, fmt.Errorf("look for a member: %w", err)
	}
	err = p.pool.QueryRow(ctx, `SELECT salt, hash FROM member WHERE name = $1`, name).Scan(&oldSalt, &oldHash)
	return oldSalt, oldHash, err
}

// begin keeps a session, end forgets it, and whose says whom it belongs to.
func (p *posts) begin(ctx context.Context, session, name string, until time.Time) error {
	_, err := p.pool.Exec(ctx, `INSERT INTO session (id, name, until) VALUES ($1, $2, $3)`, session, name, until)
	return err
}

func (p *posts) end(ctx context.Context, session string) error {
	_, err := p.pool.Exec(ctx, `DELETE FROM session WHERE id = $1 OR until < now()`, session)
	return err
}

func (p *posts) whose(ctx context.Context, session string) (name string, err error) {
	if err := p.prepared(ctx); err != nil {
		return "", err
	}
	err = p.pool.QueryRow(ctx, `SELECT name FROM session WHERE id = $1 AND until > now()`, session).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", errNone
	}
	return name, err
}
