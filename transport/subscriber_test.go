package transport_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// oneMessage is a source whose receivers have one message, and whose server
// is out of reach for a time.
type oneMessage struct {
	msg    *message.Message
	outage time.Duration

	once    sync.Once
	mu      sync.Mutex
	settled []transport.Settlement
}

func (s *oneMessage) Receiver(...string) (transport.Receiver, error) { return s, nil }

func (s *oneMessage) Capabilities() transport.Capabilities { return transport.Capabilities{} }

func (s *oneMessage) Close() error { return nil }

func (s *oneMessage) Receive(ctx context.Context, _ int) (page []*transport.Delivery, err error) {
	s.once.Do(func() { page = []*transport.Delivery{{Message: s.msg}} })
	if page == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return page, nil
}

func (s *oneMessage) Settle(ctx context.Context, outcomes ...transport.Outcome) error {
	timer := time.NewTimer(s.outage)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return &transport.SettleError{Unsettled: []transport.UnsettledOutcome{{Outcome: outcomes[0], Err: context.Cause(ctx)}}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range outcomes {
		s.settled = append(s.settled, o.Settlement)
	}
	return nil
}

func (s *oneMessage) got() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.settled)
}

// subscribe returns the subscriber, its one message, and what it logs.
func subscribe(t *testing.T, source *oneMessage) (*transport.Subscriber, *message.Message, *strings.Builder) {
	t.Helper()
	if source.msg == nil {
		source.msg = message.NewMessage("1", nil)
	}
	log := &strings.Builder{}
	s := transport.NewSubscriber(source, transport.SubscriberConfig{Logger: slog.New(slog.NewTextHandler(log, nil))})
	msgs, err := s.Subscribe(t.Context(), "t")
	must(t, err)
	return s, <-msgs, log
}

func TestAMessageEndsWithItsLeaseAndTheCauseSaysSo(t *testing.T) {
	for range 100 { // Who is first, the cause or the end, was a matter of chance.
		synctest.Test(t, func(t *testing.T) {
			lease, lose := context.WithCancelCause(context.Background())
			msg := message.NewMessage("1", nil)
			msg.SetContext(lease)
			s, got, _ := subscribe(t, &oneMessage{msg: msg})
			ctx := got.Context()
			go lose(transport.ErrLeaseLost)
			// What any middleware does; the race detector watches.
			got.SetContext(context.WithValue(ctx, key{}, "value"))
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, transport.ErrLeaseLost) {
				t.Errorf("cause %v, want ErrLeaseLost", cause)
			}
			must(t, s.Close())
		})
	}
}

type key struct{}

func TestWhatIsDecidedIsSettledHoweverLongTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &oneMessage{outage: time.Hour}
		s, msg, log := subscribe(t, source)
		msg.Ack()
		<-time.After(time.Hour)
		synctest.Wait()
		if source.got() != "[ack]" {
			t.Errorf("settled %s; log: %s", source.got(), log)
		}
		must(t, s.Close())
	})
}

func TestAClosedSubscriptionSettlesForAWhile(t *testing.T) {
	for _, tt := range []struct {
		outage, takes time.Duration
		settled       string
	}{
		{4 * time.Second, 4 * time.Second, "[ack]"},
		{time.Hour, 5 * time.Second, "[]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			source := &oneMessage{outage: tt.outage}
			s, msg, log := subscribe(t, source)
			msg.Ack()
			synctest.Wait()
			begun := time.Now()
			must(t, s.Close())
			if took := time.Since(begun); took != tt.takes || source.got() != tt.settled {
				t.Errorf("outage of %v: Close took %v, settled %s", tt.outage, took, source.got())
			}
			if lost := strings.Contains(log.String(), "settle failed"); lost != (tt.settled == "[]") {
				t.Errorf("outage of %v: log %q", tt.outage, log)
			}
		})
	}
}

func TestSubscribeAfterCloseSaysSo(t *testing.T) {
	s := transport.NewSubscriber(&oneMessage{}, transport.SubscriberConfig{})
	must(t, s.Close())
	if _, err := s.Subscribe(t.Context(), "user-events"); !errors.Is(err, events.ErrClosed) || !strings.Contains(err.Error(), "user-events") {
		t.Errorf("error %v", err)
	}
}
