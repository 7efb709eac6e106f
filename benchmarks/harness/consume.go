package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds of what one round consumes, where the load does not say.
const (
	leastMessages = 300
	mostMessages  = 400_000
	mostBytes     = 256 << 20
)

// consuming is one call of Consume under way.
type consuming struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error
}

func (s *stage) consume(ctx context.Context, group string, handle Handler) *consuming {
	ctx, cancel := context.WithCancel(ctx)
	c := &consuming{cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.err = s.system.Consume(ctx, group, handle)
	}()
	return c
}

// stop ends the call and waits for it.
func (c *consuming) stop() error {
	c.cancel()
	<-c.ended
	if c.err != nil && !errors.Is(c.err, context.Canceled) {
		return fmt.Errorf("consume: %w", c.err)
	}
	return nil
}

// await waits for the tally, or for Consume to end before it should.
func (c *consuming) await(ctx context.Context, t *tally) error {
	err := t.wait(c.ended, patience)
	if errors.Is(err, errInterrupted) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("consume ended by itself: %w", errors.Join(c.err, errInterrupted))
	}
	return err
}

// measureConsume lets one group handle everything that is stored.
func measureConsume(ctx context.Context, s *stage) (Sample, error) {
	if external, ok := s.system.(External); ok {
		return measureExternal(ctx, s, external)
	}
	return s.consumeSized(ctx, 1)
}

// measureFanOut lets several groups handle everything at the same time.
func measureFanOut(ctx context.Context, s *stage) (Sample, error) {
	return s.consumeSized(ctx, max(s.scenario.Load.Groups, 1))
}

// consumeSized finds out, in the first round, how much must be stored for a
// round to last.
func (s *stage) consumeSized(ctx context.Context, groups int) (Sample, error) {
	for {
		sample, err := s.consumeAll(ctx, groups)
		if err != nil {
			return sample, err
		}
		s.perSec = sample.Figure
		if s.settled || s.scenario.Load.Backlog > 0 || sample.Seconds >= s.duration.Seconds()/3 || s.size() <= s.filled*5/4 {
			s.settled = true
			return sample, nil
		}
	}
}

// size is how many messages a round has.
func (s *stage) size() int {
	load := s.scenario.Load
	if load.Backlog > 0 {
		return load.Backlog
	}
	least := max(leastMessages, s.contestant.Least)
	n := 2 * least
	if s.perSec > 0 {
		n = int(s.perSec * s.duration.Seconds())
	}
	size := load.Body
	if load.Webhooks {
		size = 10 << 10
	}
	return min(max(n, least)/max(load.Groups, 1), mostMessages, mostBytes/max(size, 1))
}

// prepare stores what a round consumes and returns how many messages that are.
func (s *stage) prepare(ctx context.Context) (from, want int, err error) {
	pending := s.scenario.Load.Pending
	if !s.contestant.Replays {
		want = s.size()
		return 0, want, s.fill(ctx, 0, want)
	}
	if !s.settled || s.filled == 0 {
		for _, total := range []int{pending, pending + s.size()} { // those left pending come first
			if total <= s.filled {
				continue
			}
			if err := s.fill(ctx, s.filled, total); err != nil {
				return 0, 0, err
			}
			s.filled = total
		}
	}
	return pending, s.filled - pending, nil
}

func (s *stage) consumeAll(ctx context.Context, groups int) (Sample, error) {
	from, want, err := s.prepare(ctx)
	if err != nil {
		return Sample{}, err
	}
	names := make([]string, groups)
	for i := range names {
		s.groups++
		names[i] = fmt.Sprintf("group-%d", s.groups)
		if from > 0 {
			if err := s.leavePending(ctx, names[i], from); err != nil {
				return Sample{}, err
			}
		}
	}
	before, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	tallies := make([]*tally, groups)
	runs := make([]*consuming, groups)
	for i, name := range names {
		tallies[i] = newTally(from, want)
		runs[i] = s.consume(ctx, name, s.handler(tallies[i]))
	}
	var failed error
	for i, c := range runs {
		failed = errors.Join(failed, c.await(ctx, tallies[i]))
	}
	after, cpuErr := s.cpu(ctx)
	for _, c := range runs {
		c.cancel() // all at once, since ending may take each of them a moment
	}
	for _, c := range runs {
		failed = errors.Join(failed, c.stop())
	}
	if failed = errors.Join(failed, cpuErr); failed != nil {
		return Sample{}, failed
	}
	return sampleOf(tallies, want, after.since(before)), nil
}

// sampleOf measures from the first message handled to the last one: making
// connections and groups is not what is asked.
func sampleOf(tallies []*tally, want int, used cpu) Sample {
	var first, last time.Time
	sample := Sample{Messages: want * len(tallies), ClientCPU: used.client, ServerCPU: used.server}
	for _, t := range tallies {
		began, ended, duplicates := t.span()
		if first.IsZero() || began.Before(first) {
			first = began
		}
		if ended.After(last) {
			last = ended
		}
		sample.Duplicates += duplicates
	}
	sample.Seconds = last.Sub(first).Seconds()
	sample.Figure = float64(sample.Messages) / sample.Seconds
	return sample
}

var errFirstAttempt = errors.New("fails at the first attempt")

// handler does the load's work, fails where it shall, and counts.
func (s *stage) handler(t *tally) Handler {
	load := s.scenario.Load
	if load.Work == 0 && load.Fails == 0 {
		return func(_ context.Context, body []byte) error {
			t.add(body)
			return nil
		}
	}
	var mu sync.Mutex
	failed := map[int]bool{}
	return func(ctx context.Context, body []byte) error {
		if load.Work > 0 {
			timer := time.NewTimer(load.Work)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if n, err := number(body); load.Fails > 0 && err == nil && n%load.Fails == 0 {
			mu.Lock()
			again := failed[n]
			failed[n] = true
			mu.Unlock()
			if !again {
				return errFirstAttempt
			}
		}
		t.add(body)
		return nil
	}
}

// leavePending makes a consumer that reads the first n messages and is gone.
func (s *stage) leavePending(ctx context.Context, group string, n int) error {
	topic := s.env().Topic
	if err := s.server.client.XGroupCreateMkStream(ctx, topic, group, "0").Err(); err != nil {
		return fmt.Errorf("make a group with pending messages: %w", err)
	}
	for left := n; left > 0; {
		streams, err := s.server.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: "gone", Streams: []string{topic, ">"}, Count: int64(min(left, 10_000)),
		}).Result()
		if err != nil {
			return fmt.Errorf("leave messages pending: %w", err)
		}
		left -= len(streams[0].Messages)
	}
	return nil
}
