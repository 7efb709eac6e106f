package contestants

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/benchmarks/harness"
	eventsredis "github.com/logistically/events/transport/redis"
	"github.com/redis/go-redis/v9"
)

// GoRedis is a bare loop over go-redis, as fast as one can write it: what a
// library on top can reach at best.
func GoRedis() harness.Contestant {
	return rawContestant("go-redis", plainClient, bodyOf)
}

// GoRedisMessages is the same loop, which makes of each entry the message that a
// handler of this library or of Watermill is given: what is left is the library.
func GoRedisMessages() harness.Contestant {
	return rawContestant("go-redis, messages", plainClient, messageOf)
}

func plainClient(client *redis.Client) (redis.Cmdable, error) { return client, nil }

func bodyOf(values map[string]any) ([]byte, error) {
	body, _ := values["payload"].(string)
	return []byte(body), nil
}

func messageOf(values map[string]any) ([]byte, error) {
	msg, err := eventsredis.Decode(values)
	if err != nil {
		return nil, err
	}
	return msg.Payload, nil
}

// GoRedisAutoPipeline is the same with go-redis's own AutoPipeline for publishing,
// in which callers of the same moment share a round trip.
func GoRedisAutoPipeline() harness.Contestant {
	return rawContestant("go-redis autopipeline", func(client *redis.Client) (redis.Cmdable, error) {
		// The defaults; full duplex is for slow links, and is slower on the loopback.
		return client.AutoPipeline()
	}, bodyOf)
}

func rawContestant(name string, face func(*redis.Client) (redis.Cmdable, error), read func(values map[string]any) ([]byte, error)) harness.Contestant {
	return harness.Contestant{
		Name:    name,
		Kind:    harness.Ceiling,
		Library: libraryVersion("github.com/redis/go-redis/v9"),
		Redis:   true,
		Replays: true,
		Limits: map[string]string{
			"memory":   "the bare loop handles inline: two messages at a time",
			"recovery": "the bare loop claims nothing from other consumers",
		},
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			client := redis.NewClient(redisOptions(env))
			publish, err := face(client)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("make the publishing client: %w", err), client.Close())
			}
			values, err := headed()
			if err != nil {
				return nil, errors.Join(fmt.Errorf("make an entry: %w", err), client.Close())
			}
			return &rawSystem{env: env, client: client, publish: publish, values: values, read: read}, nil
		},
	}
}

// mostConnections bounds a pool: with 1000 callers, 1000 connections published half
// as fast as 100 did, for every contestant over go-redis.
const mostConnections = 100

// redisOptions has a connection for each goroutine that may wait, within reason.
func redisOptions(env harness.Env) *redis.Options {
	return &redis.Options{Addr: env.Redis, PoolSize: min(max(env.Load.Callers, env.Load.Workers, 10), mostConnections)}
}

type rawSystem struct {
	env     harness.Env
	client  *redis.Client
	publish redis.Cmdable
	values  []any // of an entry, without its body
	read    func(values map[string]any) (body []byte, err error)
}

func (s *rawSystem) Publish(ctx context.Context, bodies [][]byte) error {
	if len(bodies) == 1 {
		return s.publish.XAdd(ctx, s.entry(bodies[0])).Err()
	}
	_, err := s.publish.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, body := range bodies {
			pipe.XAdd(ctx, s.entry(body))
		}
		return nil
	})
	return err
}

// entry is what this library stores for the same message: its header takes room,
// and the ceiling has to carry it too.
func (s *rawSystem) entry(body []byte) *redis.XAddArgs {
	values := slices.Clone(s.values)
	values[len(values)-1] = body
	return &redis.XAddArgs{Stream: s.env.Topic, Values: values}
}

// headed returns the fields and values of an entry of this library, the body last.
func headed() ([]any, error) {
	facade, err := events.NewPublisher(nothing{}, events.PublisherConfig{Origin: "bench"})
	if err != nil {
		return nil, err
	}
	msg, err := facade.Message(context.Background(), eventType, json.RawMessage("{}"))
	if err != nil {
		return nil, err
	}
	return eventsredis.Encode(msg)
}

// nothing is a publisher that is never called.
type nothing struct{}

func (nothing) Publish(string, ...*message.Message) error { return harness.ErrUnsupported }
func (nothing) Close() error                              { return nil }

const (
	rawPage = 500 // entries
	// rawPageBytes makes pages of large bodies shorter.
	rawPageBytes = 16 << 20
	// rawBlock is how long an idle read waits, and so how long the end of ctx may take.
	rawBlock = 100 * time.Millisecond
)

// Consume reads with two loops, so that one reads while the other one handles.
// Each has a consumer name of its own and begins with what that name left behind.
func (s *rawSystem) Consume(ctx context.Context, group string, handle harness.Handler) error {
	err := s.client.XGroupCreateMkStream(ctx, s.env.Topic, group, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return fmt.Errorf("create the group: %w", err)
	}
	const loops = 2
	client := redis.NewClient(&redis.Options{Addr: s.env.Redis, PoolSize: loops})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// With a single worker the loops take turns in handling.
	turns := make(chan struct{}, min(workers(s.env.Load), loops))
	ended := make(chan error, loops)
	for i := range loops {
		loop := rawLoop{
			client: client, topic: s.env.Topic, group: group, consumer: fmt.Sprintf("loop-%d", i),
			page: max(min(rawPage, rawPageBytes/max(s.env.Load.Body, 1)), 1), turns: turns, read: s.read, handle: handle,
		}
		go func() {
			ended <- loop.run(ctx)
			cancel() // One loop without the other would be half a contestant.
		}()
	}
	err = nil
	for range loops {
		err = errors.Join(err, <-ended)
	}
	return errors.Join(err, client.Close())
}

func (s *rawSystem) Stored(ctx context.Context) (int, error) {
	return storedInStream(ctx, s.client, s.env.Topic)
}

func (s *rawSystem) Close() error { return s.client.Close() }

// rawLoop is one of the two loops.
type rawLoop struct {
	client                 *redis.Client
	topic, group, consumer string
	page                   int // entries a read
	turns                  chan struct{}
	read                   func(values map[string]any) (body []byte, err error)
	handle                 harness.Handler
}

// What a read begins after: new entries, or those that are pending for this consumer.
const (
	newEntries = ">"
	pending    = "0"
)

// run reads, handles, and acknowledges together with the next read, until ctx
// ends. What failed stays pending and is read again after the next page.
func (l *rawLoop) run(ctx context.Context) error {
	from, left := pending, false // left: entries of this consumer are still pending
	var done []string
	for ctx.Err() == nil {
		page, err := l.exchange(ctx, done, from)
		if err != nil {
			return err
		}
		done = l.handlePage(ctx, page, done[:0])
		left = len(done) < len(page) || from == newEntries && left
		more := from == pending && len(page) == l.page && len(done) > 0
		if from == newEntries && left || more {
			from = pending
		} else {
			from = newEntries
		}
	}
	if len(done) == 0 {
		return nil
	}
	if err := l.client.XAck(context.WithoutCancel(ctx), l.topic, l.group, done...).Err(); err != nil {
		return fmt.Errorf("acknowledge the last page: %w", err)
	}
	return nil
}

// handlePage adds the ids of the entries that are handled to done.
func (l *rawLoop) handlePage(ctx context.Context, page []redis.XMessage, done []string) []string {
	l.turns <- struct{}{}
	defer func() { <-l.turns }()
	for _, entry := range page {
		if ctx.Err() != nil {
			break // The rest stays pending.
		}
		body, err := l.read(entry.Values)
		if err == nil && l.handle(ctx, body) == nil {
			done = append(done, entry.ID)
		}
	}
	return done
}

// exchange acknowledges a page and reads the next one in one round trip.
func (l *rawLoop) exchange(ctx context.Context, done []string, from string) ([]redis.XMessage, error) {
	ctx = context.WithoutCancel(ctx) // A read that is given up may have been served.
	pipe := l.client.Pipeline()
	var ack *redis.IntCmd
	if len(done) > 0 {
		ack = pipe.XAck(ctx, l.topic, l.group, done...)
	}
	read := pipe.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: l.group, Consumer: l.consumer, Streams: []string{l.topic, from}, Count: int64(l.page), Block: rawBlock,
	})
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read and acknowledge: %w", err)
	}
	if ack != nil && ack.Err() != nil {
		return nil, fmt.Errorf("acknowledge: %w", ack.Err())
	}
	streams, err := read.Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return streams[0].Messages, nil
}
