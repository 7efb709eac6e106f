package middleware_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

func poisonQueue(t *testing.T, cfg middleware.PoisonConfig) message.HandlerMiddleware {
	t.Helper()
	mw, err := middleware.PoisonQueue(cfg)
	must(t, err)
	return mw
}

func TestPoisonQueueDecides(t *testing.T) {
	later := events.RetryAfter(time.Minute, errBoom)
	busy := events.RetryAfter(time.Second, middleware.ErrInProgress)
	const deadLetter, passed, nothing = "dead letter", "passed on", "nil"
	for name, c := range map[string]struct {
		err     error
		attempt int
		cause   error // with which the context ends
		runs    int
		want    string
	}{
		"success":                       {nil, 25, nil, 1, nothing},
		"failure":                       {errBoom, 1, nil, 1, deadLetter},
		"permanent":                     {events.Permanent(errBoom), 1, nil, 1, deadLetter},
		"discard":                       {events.Discard(errBoom), 1, nil, 1, passed},
		"later":                         {later, 24, nil, 1, passed},
		"later, at last":                {later, 25, nil, 1, deadLetter},
		"in progress":                   {busy, 25, nil, 1, passed},
		"too often":                     {nil, 26, nil, 0, deadLetter},
		"released":                      {errBoom, 1, events.ErrReleased, 1, passed},
		"permanent when released":       {events.Permanent(errBoom), 1, events.ErrReleased, 1, passed},
		"later, at last, when released": {later, 25, events.ErrReleased, 1, passed},
		"lease lost":                    {errBoom, 1, transport.ErrLeaseLost, 1, passed},
		"subscription closed":           {errBoom, 1, context.Canceled, 1, passed},
		"deadline":                      {errBoom, 1, context.DeadlineExceeded, 1, deadLetter},
	} {
		t.Run(name, func(t *testing.T) {
			msg := deliver(newMessage("1"), c.attempt, full)
			ctx, cancel := context.WithCancelCause(msg.Context())
			defer cancel(nil)
			msg.SetContext(ctx)
			runs := 0
			_, err := poisonQueue(t, middleware.PoisonConfig{})(func(*message.Message) ([]*message.Message, error) {
				runs++
				if c.cause != nil {
					cancel(c.cause)
				}
				return nil, c.err
			})(msg)
			got := nothing
			if err != nil && err == c.err {
				got = passed
			} else if events.IsPermanent(err) {
				got = deadLetter
			}
			if got != c.want || runs != c.runs {
				t.Errorf("got %v, %d runs, want %s, %d", err, runs, c.want, c.runs)
			}
			if c.attempt >= 25 && c.want == deadLetter && !errors.Is(err, middleware.ErrTooManyDeliveries) {
				t.Errorf("%v does not say why", err)
			}
		})
	}
}

func TestPoisonQueueCountsOnlyWhereTheTransportDoes(t *testing.T) {
	for name, c := range map[string]struct {
		max     int
		attempt int
		can     transport.Capabilities
		runs    int
	}{
		"uncounted": {3, 1000, transport.Capabilities{DeadLetter: true}, 1},
		"at most":   {3, 3, full, 1},
		"over":      {3, 4, full, 0},
		"no limit":  {-1, 1 << 40, full, 1},
	} {
		h := &handler{errs: []error{events.RetryAfter(0, errBoom)}}
		_, err := poisonQueue(t, middleware.PoisonConfig{MaxDeliveries: c.max})(h.handle)(deliver(newMessage("1"), c.attempt, c.can))
		if h.runs != c.runs || err == nil {
			t.Errorf("%s: got %v after %d runs, want %d", name, err, h.runs, c.runs)
		}
	}
}

func TestPoisonQueuePublishesWhereTheTransportCannot(t *testing.T) {
	dead := &recorder{}
	mw := poisonQueue(t, middleware.PoisonConfig{Publisher: dead, Topic: "dead", MaxDeliveries: 2})
	msg := deliver(newMessage("1"), 1, transport.Capabilities{})
	msg.Metadata[transport.MetadataFailureAttempts] = "7" // It was a dead letter before.
	// A handler whose inner middleware leaves an ended context.
	if _, err := mw(wmiddleware.Timeout(time.Hour)((&handler{errs: []error{errBoom}}).handle))(msg); err != nil {
		t.Fatal(err)
	}
	if len(dead.messages) != 1 || dead.topics[0] != "dead" {
		t.Fatalf("published %v to %v", dead.messages, dead.topics)
	}
	letter, md := dead.messages[0], dead.messages[0].Metadata
	if letter == msg || letter.UUID != "1" || string(letter.Payload) != `{"n":1}` || letter.Context().Err() != nil || md[events.MetadataType] != "user.created" ||
		md[transport.MetadataFailureReason] != "boom" || md[transport.MetadataFailureTopic] != "user-events" || md[transport.MetadataFailureID] != "1-0" || md[transport.MetadataFailureTime] == "" {
		t.Errorf("dead letter: %v", md)
	}
	if _, ok := md[transport.MetadataFailureAttempts]; ok {
		t.Error("attempts that nobody counted")
	}
	if _, ok := msg.Metadata[transport.MetadataFailureReason]; ok {
		t.Error("the message itself was changed")
	}
	if _, err := mw((&handler{}).handle)(deliver(newMessage("2"), 3, transport.Capabilities{Attempts: true})); err != nil {
		t.Fatal(err)
	}
	if got := dead.messages[1].Metadata[transport.MetadataFailureAttempts]; got != "3" {
		t.Errorf("attempts: %q", got)
	}
}

func TestPoisonQueueNeverLosesAMessage(t *testing.T) {
	down := errors.New("down")
	for name, c := range map[string]struct {
		cfg  middleware.PoisonConfig
		err  error
		want []error
	}{
		"no place":              {middleware.PoisonConfig{}, errBoom, []error{errBoom, middleware.ErrNoPoisonQueue}},
		"publisher down":        {middleware.PoisonConfig{Publisher: &recorder{err: down}, Topic: "dead"}, errBoom, []error{errBoom, down}},
		"publisher discards":    {middleware.PoisonConfig{Publisher: &recorder{err: events.Discard(down)}, Topic: "dead"}, errBoom, []error{errBoom}},
		"from the poison topic": {middleware.PoisonConfig{Publisher: &recorder{}, Topic: "user-events"}, errBoom, []error{errBoom, middleware.ErrNoPoisonQueue}},
		"not to be poisoned":    {middleware.PoisonConfig{ShouldPoison: func(err error) bool { return !errors.Is(err, errBoom) }}, errBoom, []error{errBoom}},
	} {
		_, err := poisonQueue(t, c.cfg)((&handler{errs: []error{c.err}}).handle)(deliver(newMessage("1"), 1, transport.Capabilities{}))
		if err == nil || events.IsDiscard(err) {
			t.Errorf("%s: got %v: the message is lost", name, err)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v in it", name, err, want)
			}
		}
	}
}

func TestPoisonQueueRefuses(t *testing.T) {
	_, err := middleware.PoisonQueue(middleware.PoisonConfig{Topic: "dead"})
	wantConfigError(t, "topic alone", err)
	_, err = middleware.PoisonQueue(middleware.PoisonConfig{Publisher: &recorder{}})
	wantConfigError(t, "publisher alone", err)
}

func TestPoisonQueueInWatermillsRouter(t *testing.T) {
	ps := newPubSub(false)
	dead, err := ps.Subscribe(t.Context(), "dead")
	must(t, err)
	mw := poisonQueue(t, middleware.PoisonConfig{Publisher: ps, Topic: "dead"})
	var runs atomic.Int32
	discarded := make(chan *message.Message, 16)
	h := func(msg *message.Message) ([]*message.Message, error) {
		runs.Add(1)
		if msg.UUID == "useless" {
			discarded <- msg
			return nil, events.Discard(errBoom)
		}
		return nil, errBoom
	}
	watermillRun(t, ps, h, []message.HandlerMiddleware{mw}, func() {
		seen := map[string]bool{}
		for range 2 {
			letter := receive(t, dead)
			seen[letter.UUID] = true
			md := letter.Metadata
			if md[transport.MetadataFailureTopic] != "in" || md[transport.MetadataFailureHandler] != "the handler" || md[transport.MetadataFailureReason] != "boom" {
				t.Errorf("dead letter %s: %v", letter.UUID, md)
			}
		}
		select {
		case msg := <-discarded:
			<-msg.Acked()
		case <-time.After(10 * time.Second):
			t.Error("not discarded in 10 s")
		}
		if !seen["1"] || !seen["2"] {
			t.Errorf("dead letters: %v", seen)
		}
	}, newMessage("1"), newMessage("useless"), newMessage("2"))
	if n := runs.Load(); n != 3 {
		t.Errorf("%d runs, want one of each message", n)
	}
}

func TestPoisonQueuePublishesThoughTheDeadlineHasPassed(t *testing.T) {
	dead := &recorder{}
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	msg := newMessage("1")
	msg.SetContext(ctx)
	_, err := poisonQueue(t, middleware.PoisonConfig{Publisher: dead, Topic: "dead"})((&handler{errs: []error{errBoom}}).handle)(msg)
	must(t, err)
	if len(dead.messages) != 1 || dead.messages[0].Context().Err() != nil {
		t.Error("the dead letter's context has ended, a publisher would refuse it")
	}
}
