package events

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// PublishError says which messages of one Publish call did not go out, and
// why. All messages that it does not list were stored.
type PublishError struct {
	Topic  string
	Total  int // how many messages the call had
	Failed []FailedMessage
}

// FailedMessage is one message that was not published.
type FailedMessage struct {
	Topic   string
	Message *message.Message
	Err     error
}

func (e *PublishError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "publish to %q: %d of %d messages failed", e.Topic, len(e.Failed), e.Total)
	for i, f := range e.Failed {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more", len(e.Failed)-i)
			break
		}
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		if f.Message == nil {
			fmt.Fprintf(&b, "%sa nil message: %v", sep, f.Err)
			continue
		}
		fmt.Fprintf(&b, "%s%s %s: %v", sep, f.Message.Metadata[MetadataType], f.Message.UUID, f.Err)
	}
	return b.String()
}

// Unwrap returns the error of each failed message, for errors.Is and errors.As.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, f := range e.Failed {
		errs[i] = f.Err
	}
	return errs
}

// FailedOf returns what became of each of msgs, the messages of the one Publish
// call that returned err: errs[i] is nil if msgs[i] went out, or else says why
// it did not.
//
// It reports false if err does not tell for sure which messages failed; then
// all count as failed, with err: better to publish one twice than to lose it.
// Only a [PublishError] tells, also a wrapped one, but not one that is joined
// with other errors: those may be about other messages. It must list messages
// of the call, or copies of them that a publisher in between has made: those
// are told by their UUID, which must not be empty and be that of one message
// only. The nil error tells that all went out.
func FailedOf(err error, msgs []*message.Message) (errs []error, ok bool) {
	errs = make([]error, len(msgs))
	if err == nil {
		return errs, true
	}
	if e := listOf(err); e != nil && e.mark(msgs, errs) {
		return errs, true
	}
	for i := range errs {
		errs[i] = err
	}
	return errs, false
}

// listOf returns the PublishError that all of err is about, or nil.
func listOf(err error) *PublishError {
	for err != nil {
		switch e := err.(type) {
		case *PublishError:
			return e
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			joined := e.Unwrap()
			if len(joined) != 1 {
				return nil
			}
			err = joined[0]
		default:
			return nil
		}
	}
	return nil
}

// mark sets the errors of the messages that e lists. It reports false as soon
// as it cannot tell which one is meant.
func (e *PublishError) mark(msgs []*message.Message, errs []error) bool {
	if len(e.Failed) == 0 {
		return false
	}
	places := make(map[*message.Message][]int, len(msgs)) // One message may be in msgs twice.
	namesakes := make(map[string][]int, len(msgs))
	for i, msg := range msgs {
		places[msg] = append(places[msg], i)
		if msg != nil && msg.UUID != "" {
			namesakes[msg.UUID] = append(namesakes[msg.UUID], i)
		}
	}
	for _, f := range e.Failed {
		if f.Message == nil {
			return false
		}
		var at int
		if same := places[f.Message]; len(same) > 0 {
			at, places[f.Message] = same[0], same[1:]
		} else if named := namesakes[f.Message.UUID]; len(named) == 1 {
			at = named[0]
		} else {
			return false
		}
		if errs[at] != nil {
			return false // Listed already: this one is another, whose message we do not know.
		}
		errs[at] = cmp.Or(f.Err, error(e))
	}
	return true
}
