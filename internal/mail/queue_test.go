package mail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// post is a queue whose relay is answer.
func post(t *testing.T, answer func(Message) ([]Refusal, error)) (q *Queue, results func() []Result, end func()) {
	t.Helper()
	var mu sync.Mutex
	var all []Result
	q = NewQueue(func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r)
	})
	q.send = func(_ context.Context, _ Server, m Message) ([]Refusal, error) { return answer(m) }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { q.Run(ctx) })
	return q, func() []Result { mu.Lock(); defer mu.Unlock(); return slices.Clone(all) }, func() { cancel(); wg.Wait() }
}

func numbered(n int) Message { return Message{Subject: fmt.Sprint(n), To: []string{"a@b"}} }

func TestMailsArriveInOrderWhenTheRelayIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(10 * time.Minute)
		var got []string
		q, results, end := post(t, func(m Message) ([]Refusal, error) {
			if time.Now().Before(back) {
				return nil, &Error{Step: "CONNECT", Err: errors.New("refused")}
			}
			got = append(got, m.Subject)
			return nil, nil
		})
		defer end()
		for i := range 3 {
			q.Put(time.Now(), Server{}, numbered(i))
		}
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("delivered %v", got)
		}
		if n := len(results()); n > 3+8 {
			t.Errorf("it was tried %d times", n)
		}
	})
}

func TestWhatNobodyTakesIsGivenUpAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, results, end := post(t, func(m Message) ([]Refusal, error) {
			if m.Subject == "1" {
				return nil, &Error{Step: "MAIL", Code: 550, Err: errors.New("no")}
			}
			return nil, &Error{Step: "CONNECT", Err: errors.New("refused")}
		})
		defer end()
		q.Put(time.Now(), Server{}, numbered(0))
		q.Put(time.Now(), Server{}, numbered(1))
		time.Sleep(2 * time.Hour)
		lost := map[string]int{}
		for _, r := range results() {
			if r.Lost {
				lost[r.Message.Subject]++
			}
		}
		if lost["0"] != 1 || lost["1"] != 1 || len(results()) > 20 || q.Settle(0) != 0 {
			t.Errorf("lost %v after %d tries, %d left", lost, len(results()), q.Settle(0))
		}
	})
}

func TestOnlyThoseWhoDidNotGetItAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to [][]string
		q, _, end := post(t, func(m Message) ([]Refusal, error) {
			to = append(to, m.To)
			if len(to) == 1 {
				return []Refusal{{"a@b", &Error{Code: 450}}, {"c@d", &Error{Code: 550}}}, nil
			}
			return nil, nil
		})
		defer end()
		q.Put(time.Now(), Server{}, Message{To: []string{"a@b", "c@d", "e@f"}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(to) != 2 || !slices.Equal(to[1], []string{"a@b"}) {
			t.Errorf("sent to %v", to)
		}
	})
}

func TestAQueueIsBoundedAndPutNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, results, end := post(t, func(Message) ([]Refusal, error) { return nil, &Error{Step: "CONNECT", Err: errors.New("refused")} })
		defer end()
		for i := range Limit + 5 {
			q.Put(time.Now(), Server{}, numbered(i))
		}
		synctest.Wait()
		lost := 0
		for _, r := range results() {
			if r.Lost {
				lost++
			}
		}
		if left := q.Settle(time.Second); left != Limit || lost != 5 {
			t.Errorf("%d wait, %d lost", left, lost)
		}
	})
}
