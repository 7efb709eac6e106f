package eventstest

import (
	"cmp"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrInjected is the error of [Kit.FailNext] and [Kit.FailPublish] if they are
// given none.
var ErrInjected = errors.New("eventstest: a failure that the test asked for")

// FailNext makes the next n handler runs for events of a type fail with err,
// before the handler itself begins; an empty type means any. A negative n
// means all further runs, 0 none: it replaces what was asked for that type
// before. Wrap err by events.Permanent and the like to say what kind of failure
// it is; nil means [ErrInjected].
//
// A retry middleware of [Kit.Router] sees such a failure as one of the handler;
// one of a group or of a single handler runs inside of it, and does not. In
// a router that the code under test makes, see [Kit.Middleware].
func (k *Kit) FailNext(eventType string, n int, err error) {
	k.faults.set(&k.faults.handle, eventType, n, err)
}

// FailPublish makes the next n calls of [Kit.Publisher] for a topic fail with
// err, as if the server were away; an empty topic means any. n and err are as
// for [Kit.FailNext].
func (k *Kit) FailPublish(topic string, n int, err error) {
	k.faults.set(&k.faults.publish, topic, n, err)
}

// Middleware returns the middleware through which FailNext acts and handler
// runs get into timelines. [Kit.Router] has it. Give it to a router that the code
// under test makes, as the innermost one; without it, all else works.
func (k *Kit) Middleware() message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if err := k.faults.next(&k.faults.handle, typeOf(msg, topicOf(msg))); err != nil {
				k.journal.note(msg, "handler made to fail: %v", err)
				return nil, err
			}
			produced, err := next(msg)
			if err != nil {
				k.journal.note(msg, "handler failed: %v", err)
			} else {
				k.journal.note(msg, "handler returned nil")
			}
			return produced, err
		}
	}
}

// faults are failures to come, by event type or by topic.
type faults struct {
	mu      sync.Mutex
	handle  map[string]*fault
	publish map[string]*fault
}

type fault struct {
	left int // negative: without end
	err  error
}

func (f *faults) set(of *map[string]*fault, key string, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *of == nil {
		*of = map[string]*fault{}
	}
	(*of)[key] = &fault{n, cmp.Or(err, ErrInjected)}
}

// next uses up one failure of key, or else of any key, and returns its error.
func (f *faults) next(of *map[string]*fault, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range []string{key, ""} {
		if next := (*of)[name]; next != nil && next.left != 0 {
			if next.left > 0 {
				next.left--
			}
			return next.err
		}
	}
	return nil
}
