// Package e2e runs the whole house: real events, a real redis-server, real
// consumer processes.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/internal/webhooks"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/validation"
	goredis "github.com/redis/go-redis/v9"
)

const (
	rounds    = 40
	tampered  = 200
	garbage   = 100
	duplicate = 300 // events that are published twice under one id
)

func schemas() (*validation.Registry, error) {
	all, err := webhooks.Load()
	if err != nil {
		return nil, err
	}
	document, err := webhooks.Schema()
	if err != nil {
		return nil, err
	}
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		return nil, err
	}
	definitions := map[string]string{}
	for _, e := range all {
		definitions[e.Type] = "#/definitions/" + e.Definition
	}
	return r, r.AddDocument("github-webhooks.json", document, definitions)
}

// published is what went out, for the reckoning at the end.
type published struct {
	mu  sync.Mutex
	ids map[string]string // event id -> event type
}

// Publish records ids on their way through to next.
type recorder struct {
	next message.Publisher
	out  *published
}

func (r recorder) Publish(topic string, msgs ...*message.Message) error {
	r.out.mu.Lock()
	for _, m := range msgs {
		r.out.ids[m.UUID] = m.Metadata[events.MetadataType]
	}
	r.out.mu.Unlock()
	return r.next.Publish(topic, msgs...)
}

func (r recorder) Close() error { return nil }

func TestEveryEventIsHandledOnceOrLiesInTheDeadLetters(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	server := redisserver.New(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	all, err := webhooks.Load()
	if err != nil {
		t.Fatal(err)
	}
	registry, err := schemas()
	if err != nil {
		t.Fatal(err)
	}

	consumers := []*consumer{startConsumer(t, server.Addr, seed), startConsumer(t, server.Addr, seed+1)}

	sent := &published{ids: map[string]string{}}
	refused := publishAll(t, client, registry, all, sent)
	publishTampered(t, client, registry, all, sent, rnd)
	publishGarbage(t, client, rnd)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	waitSettled(ctx, t, client, sent)
	for _, c := range consumers {
		c.stop(t)
	}

	reckon(t, client, sent, refused)
}

// publishAll publishes every webhook 40 times, in half of the rounds strictly,
// in the others with a warning, through validation, batching and routing.
func publishAll(t *testing.T, client *goredis.Client, registry *validation.Registry, all []webhooks.Event, sent *published) (refused int) {
	t.Helper()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	table, err := router.NewTable(router.TableConfig{
		Default:    "redis",
		Transports: map[string]message.Publisher{"redis": recorder{pub, sent}},
		Routes: []router.Route{
			{Pattern: "pull_request.*", Transport: "redis", Prefix: "code:", Priority: "high"},
			{Pattern: "check_run.*", Transport: "redis", Topic: "checks"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	batches, err := batching.NewPublisher(table, batching.Config{Mode: batching.Buffered, MaxSize: 50, MaxWait: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for mode, published := range map[events.ValidationMode]int{events.Strict: 0, events.Warn: 0} {
		publisher, err := events.NewPublisher(batches, events.PublisherConfig{
			Origin: "github", Validator: registry, Validation: mode,
			Topic:  func(string) string { return "webhooks" },
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for range rounds / 2 {
			for _, e := range all {
				err := publisher.Publish(t.Context(), e.Type, e.Body)
				if _, invalid := errors.AsType[*events.ValidationError](err); invalid && mode == events.Strict && !e.Valid && strings.Contains(err.Error(), e.Type) {
					refused++
				} else if err != nil {
					t.Fatalf("%s, %s, valid %v: %v", mode, e.Type, e.Valid, err)
				} else {
					published++
				}
			}
		}
		t.Logf("%s mode: %d published", mode, published)
	}
	if err := batches.Close(); err != nil {
		t.Fatal(err)
	}
	if failed := batches.FailedMessages(); len(failed) > 0 {
		t.Fatalf("%d messages failed: %v", len(failed), failed[0].Err)
	}
	if warned := strings.Count(log.String(), "breaks its schema"); warned != 43*rounds/2 || refused != warned {
		t.Errorf("%d warned about, %d refused, want %d each", warned, refused, 43*rounds/2)
	}
	// The same message again, under the same id, as a publisher does that
	// repeats a call whose answer it never got.
	entries, err := client.XRangeN(t.Context(), "webhooks", "-", "+", duplicate).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "webhooks", Values: e.Values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return refused
}

// publishTampered publishes events whose bodies were broken on the way, past
// the validation on the publishing side.
func publishTampered(t *testing.T, client *goredis.Client, registry *validation.Registry, all []webhooks.Event, sent *published, rnd *rand.Rand) {
	t.Helper()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	valid := slices.DeleteFunc(slices.Clone(all), func(e webhooks.Event) bool { return !e.Valid })
	var msgs []*message.Message
	for len(msgs) < tampered {
		e := valid[rnd.IntN(len(valid))]
		var body map[string]any
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		body["sender"] = "somebody else"
		broken, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if registry.Validate(t.Context(), e.Type, broken) == nil {
			continue // This type says nothing of its sender.
		}
		msg := message.NewMessage(fmt.Sprintf("tampered-%d", len(msgs)), broken)
		events.SetHeader(msg, events.Header{ID: msg.UUID, Type: e.Type, Origin: "mallory"})
		msgs = append(msgs, msg)
	}
	if err := (recorder{pub, sent}).Publish("webhooks", msgs...); err != nil {
		t.Fatal(err)
	}
}

// publishGarbage writes entries that are no messages at all.
func publishGarbage(t *testing.T, client *goredis.Client, rnd *rand.Rand) {
	t.Helper()
	noise := func() string {
		b := make([]byte, 1+rnd.IntN(100))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	for i := range garbage {
		values := []any{"garbage", i, noise(), noise()}
		if i%2 == 0 { // looks like a message, with metadata that is none
			values = []any{"garbage", i, "_watermill_message_uuid", "x", "metadata", "\xc1" + noise(), "payload", noise()}
		}
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: topics[i%len(topics)], Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// waitSettled waits until nothing is unread, pending or delayed any more.
func waitSettled(ctx context.Context, t *testing.T, client *goredis.Client, sent *published) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		open, err := unsettled(ctx, client)
		if err == nil && open == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d messages are still unsettled (%v)", open, len(sent.ids), err)
		}
	}
}

// unsettled counts what the group has unread, pending, delayed or waiting for
// its retry, in every stream.
func unsettled(ctx context.Context, client *goredis.Client) (int64, error) {
	var open int64
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		kind, err := client.Type(ctx, key).Result()
		if err != nil {
			return 0, err
		}
		switch {
		case kind == "zset":
			n, err := client.ZCard(ctx, key).Result()
			if err != nil {
				return 0, err
			}
			open += n
		case kind == "stream" && !strings.HasSuffix(key, ":dead-letters"):
			groups, err := client.XInfoGroups(ctx, key).Result()
			if err != nil {
				return 0, err
			}
			if len(groups) == 0 {
				open++
			}
			for _, g := range groups {
				unread, err := client.XRangeN(ctx, key, "("+g.LastDeliveredID, "+", 1).Result()
				if err != nil {
					return 0, err
				}
				open += g.Pending + int64(len(unread))
			}
		}
	}
	return open, nil
}

// reckon compares what was published with what happened.
func reckon(t *testing.T, client *goredis.Client, sent *published, refused int) {
	t.Helper()
	effects, err := client.HGetAll(t.Context(), effectsKey).Result()
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	dead := map[string]bool{}
	foundGarbage := 0
	for _, topic := range topics {
		entries, err := client.XRange(t.Context(), transport.DeadLetterTopic(topic), "-", "+").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Values["garbage"] != nil {
				foundGarbage++
				continue
			}
			msg, err := redis.Decode(e.Values)
			if err != nil {
				t.Fatalf("dead letter %s: %v", e.ID, err)
			}
			dead[msg.UUID] = true
			reason := msg.Metadata[transport.MetadataFailureReason]
			reasons[kindOf(reason)]++
			if msg.Metadata[transport.MetadataFailureTopic] == "" || msg.Metadata[transport.MetadataFailureHandler] == "" {
				t.Errorf("dead letter %s does not say where it comes from: %v", msg.UUID, msg.Metadata)
			}
		}
	}
	lost, twice := 0, 0
	for id, eventType := range sent.ids {
		if effects[id] == "" && !dead[id] {
			lost++
			t.Errorf("lost: %s %s", eventType, id)
		}
	}
	for id, n := range effects {
		if n != "1" {
			twice++
			t.Errorf("effect of %s happened %s times", id, n)
		}
	}
	t.Logf("refused %d; published %d and %d of them twice, %d tampered, %d garbage", refused, len(sent.ids)-tampered, duplicate, tampered, garbage)
	t.Logf("handled %d, dead letters %d + %d garbage, lost %d, effects that happened twice %d", len(effects), len(dead), foundGarbage, lost, twice)
	t.Logf("dead letters by reason: %v", reasons)
	if want := 206*rounds + 43*rounds/2 + tampered; len(sent.ids) != want {
		t.Errorf("published %d events, want %d", len(sent.ids), want)
	}
	if foundGarbage != garbage {
		t.Errorf("%d entries of garbage in the dead letters, want %d", foundGarbage, garbage)
	}
	if reasons["invalid"] < 43*rounds/2+tampered {
		t.Errorf("%d dead letters for invalid bodies, want %d", reasons["invalid"], 43*rounds/2+tampered)
	}
	if reasons["other"] > 0 || reasons["for good"] == 0 {
		t.Errorf("dead letters by reason: %v", reasons)
	}
}

func kindOf(reason string) string {
	switch {
	case strings.Contains(reason, "is not valid"):
		return "invalid"
	case strings.Contains(reason, errForever.Error()):
		return "for good"
	case strings.Contains(reason, errTemporary.Error()):
		return "attempts used up"
	case strings.Contains(reason, "on fire"):
		return "panic"
	}
	return "other"
}

// consumer is this test binary running as a consumer process.
type consumer struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startConsumer(t *testing.T, addr string, seed uint64) *consumer {
	t.Helper()
	c := &consumer{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), envRedis+"="+addr, fmt.Sprintf("%s=%d", envSeed, seed))
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := startListening(c.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil { // the test failed before it stopped it
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	return c
}

// stop asks the process to drain and end, and waits for it.
func (c *consumer) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := c.cmd.Wait()
	t.Log(strings.TrimSpace(c.out.String()))
	if err != nil {
		t.Fatalf("consumer did not end well: %v", err)
	}
}
