package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stream = "user-events"

// handled counts who has handled which user.
type handled struct {
	mu sync.Mutex
	by map[string][]string // user to consumers
	at chan struct{}

	seen int // by wait
}

func newHandled() *handled { return &handled{by: map[string][]string{}, at: make(chan struct{}, 1000)} }

func (h *handled) add(user, consumer string) {
	h.mu.Lock()
	h.by[user] = append(h.by[user], consumer)
	h.mu.Unlock()
	h.at <- struct{}{}
}

// wait waits until n events were handled, and makes sure that each was once.
func (h *handled) wait(t *testing.T, n int) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for ; h.seen < n; h.seen++ {
		select {
		case <-h.at:
		case <-limit:
			t.Fatalf("%d were handled, want %d", h.seen, n)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for user, consumers := range h.by {
		if len(consumers) != 1 {
			t.Errorf("user %s was handled by %v", user, consumers)
		}
	}
	if len(h.by) != n {
		t.Errorf("handled %v, want %d", h.by, n)
	}
}

func connect(t *testing.T) (client *goredis.Client, port string) {
	t.Helper()
	server := redisserver.New(t)
	client = goredis.NewClient(&goredis.Options{Addr: server.Addr})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return client, port
}

// goConsumer runs the example's consumer until stop is called.
func goConsumer(t *testing.T, client *goredis.Client, h *handled) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- consume(ctx, client, func(ev events.Event[UserCreated]) error {
			h.add(ev.Body.UserID, "go")
			return nil
		})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// settled waits until nothing of the group is pending, and makes sure that nothing is among the dead letters.
func settled(t *testing.T, client *goredis.Client) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for {
		p, err := client.XPending(t.Context(), stream, group).Result()
		if err != nil {
			t.Fatal(err)
		}
		if p.Count == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d entries are pending", p.Count)
		}
	}
	if n := client.XLen(t.Context(), stream+"-dlq").Val(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func users(prefix string, n int) (users []UserCreated) {
	for i := range n {
		users = append(users, UserCreated{UserID: fmt.Sprint(prefix, i)})
	}
	return users
}

// addRecorded adds entries as the TypeScript library has written them, with other users.
func addRecorded(t *testing.T, client *goredis.Client, users []UserCreated) {
	t.Helper()
	text, err := os.ReadFile("../../transport/redis/testdata/envelopes/v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Fields []string }
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	entry := cases[0].Fields
	for _, u := range users {
		body := fmt.Sprintf(`{"userId":%q}`, u.UserID)
		data := strings.Replace(entry[1], `{"userId":"123","name":"John Doe","email":"john@example.com"}`, body, 1)
		data = strings.Replace(data, "c9b8b3eaa92b9f1f3198362733af5585687292916000ed73e79cd4e602e250da", events.Hash([]byte(body)), 1)
		if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: stream, Values: []string{entry[0], data}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// asTheLibrary reads one page as the library's consumer does: the value of the first
// field is the JSON, whatever its name; all six members of the header must be strings.
func asTheLibrary(t *testing.T, client *goredis.Client, h *handled) {
	t.Helper()
	reply, err := client.Do(t.Context(), "xreadgroup", "group", group, "node-1", "count", 10, "streams", stream, ">").Result()
	if err != nil {
		t.Fatal(err)
	}
	entries := reply.(map[any]any)[stream].([]any)
	for _, e := range entries {
		id, fields := e.([]any)[0].(string), e.([]any)[1].([]any)
		var packet struct {
			Data struct {
				Header map[string]any
				Body   *UserCreated
			}
		}
		if err := json.Unmarshal([]byte(fields[1].(string)), &packet); err != nil {
			t.Fatalf("entry %v: %v", fields, err)
		}
		for _, name := range []string{"id", "type", "origin", "timestamp", "hash", "version"} {
			if _, ok := packet.Data.Header[name].(string); !ok {
				t.Errorf("header %v has no %s", packet.Data.Header, name)
			}
		}
		h.add(packet.Data.Body.UserID, "node")
		if err := client.XAck(t.Context(), stream, group, id).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEntriesOfEitherAreHandledByEitherInOneGroup(t *testing.T) {
	client, _ := connect(t)
	if err := client.XGroupCreateMkStream(t.Context(), stream, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	addRecorded(t, client, users("node-", 5))
	if err := publish(t.Context(), client, users("go-", 15)...); err != nil {
		t.Fatal(err)
	}
	addRecorded(t, client, users("more-", 5))
	h := newHandled()
	asTheLibrary(t, client, h) // five of each
	stop := goConsumer(t, client, h)
	h.wait(t, 25)
	stop()
	settled(t, client)
	for _, user := range []string{"node-0", "go-0"} {
		if !slices.Equal(h.by[user], []string{"node"}) {
			t.Errorf("%s was handled by %v", user, h.by[user])
		}
	}
	for _, user := range []string{"go-14", "more-0"} {
		if !slices.Equal(h.by[user], []string{"go"}) {
			t.Errorf("%s was handled by %v", user, h.by[user])
		}
	}
}

// nodePublish has the real library publish.
func nodePublish(t *testing.T, port string, users []UserCreated) {
	t.Helper()
	var lines strings.Builder
	for _, u := range users {
		fmt.Fprintf(&lines, `{"type":"user.created","body":{"userId":%q}}`+"\n", u.UserID)
	}
	cmd := exec.CommandContext(t.Context(), "node", "node/publish.cjs", port, "0")
	cmd.Stdin = strings.NewReader(lines.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// nodeConsumer runs the real library's consumer until stop is called.
func nodeConsumer(t *testing.T, port, name string, h *handled) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "node", "node/consume.cjs", port, stream, group, name, "60")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var ev struct {
				Type, Hash string
				Body       json.RawMessage
			}
			var user UserCreated
			if json.Unmarshal(lines.Bytes(), &ev) != nil || json.Unmarshal(ev.Body, &user) != nil {
				continue // what the library logs
			}
			if ev.Hash != events.Hash(ev.Body) {
				t.Errorf("hash of %s", lines.Text())
			}
			h.add(user.UserID, "node")
		}
	}()
	return func() {
		cancel()
		<-read
		_ = cmd.Wait() // It was killed.
	}
}

// The real library, where its source is: EVENTS_NODE_DIR, a checkout of v2.0.0 in which
// "npm install" and "npx tsc" were run.
func TestTheRealLibraryInOneGroup(t *testing.T) {
	if os.Getenv("EVENTS_NODE_DIR") == "" {
		t.Log("EVENTS_NODE_DIR is not set: what the library wrote was recorded, and TestEntriesOfEitherAreHandledByEitherInOneGroup runs with that")
		return
	}
	client, port := connect(t)
	if err := client.XGroupCreateMkStream(t.Context(), stream, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		inNode, inGo bool
	}{{"node alone", true, false}, {"go alone", false, true}, {"both", true, true}} {
		h := newHandled()
		var stops []func()
		if c.inNode {
			stops = append(stops, nodeConsumer(t, port, c.name+" node", h))
			// It reads when it has handled one.
			if err := publish(t.Context(), client, users(c.name+" first-", 1)...); err != nil {
				t.Fatal(err)
			}
			h.wait(t, 1)
		}
		if c.inGo {
			stops = append(stops, goConsumer(t, client, h))
		}
		nodePublish(t, port, users(c.name+" node-", 20))
		if err := publish(t.Context(), client, users(c.name+" go-", 20)...); err != nil {
			t.Fatal(err)
		}
		h.wait(t, h.seen+40)
		settled(t, client)
		for _, stop := range stops {
			stop()
		}
		shares := map[string]int{}
		for _, consumers := range h.by {
			shares[consumers[0]]++
		}
		t.Logf("%s: handled by %v", c.name, shares)
	}
}
