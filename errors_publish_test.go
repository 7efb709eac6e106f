package events_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

func TestFailedOfTellsWhichMessagesFailed(t *testing.T) {
	down := errors.New("down")
	messages := func(ids ...string) (msgs []*message.Message) {
		for _, id := range ids {
			msgs = append(msgs, message.NewMessage(id, nil))
		}
		return msgs
	}
	list := func(msgs ...*message.Message) *events.PublishError {
		e := &events.PublishError{Topic: "t", Total: 3}
		for _, m := range msgs {
			e.Failed = append(e.Failed, events.FailedMessage{Topic: "t", Message: m, Err: down})
		}
		return e
	}
	distinct, same, without := messages("a", "b", "c"), messages("a", "b", "b"), messages("a", "", "")
	twice := []*message.Message{distinct[0], distinct[1], distinct[1]}
	for name, tt := range map[string]struct {
		err    error
		msgs   []*message.Message
		failed []int // nil: not told
	}{
		"no error":                         {nil, distinct, []int{}},
		"a plain error":                    {down, distinct, nil},
		"an empty list":                    {list(), distinct, nil},
		"a nil list":                       {(*events.PublishError)(nil), distinct, nil},
		"one":                              {list(distinct[1]), distinct, []int{1}},
		"two, in another order":            {list(distinct[2], distinct[0]), distinct, []int{0, 2}},
		"wrapped":                          {fmt.Errorf("x: %w", events.Permanent(list(distinct[1]))), distinct, []int{1}},
		"a join of one":                    {errors.Join(nil, list(distinct[1])), distinct, []int{1}},
		"a join of several":                {errors.Join(list(distinct[1]), down), distinct, nil},
		"a join below a wrapper":           {fmt.Errorf("%w", errors.Join(down, list(distinct[1]))), distinct, nil},
		"a copy":                           {list(distinct[1].Copy()), distinct, []int{1}},
		"a stranger":                       {list(distinct[1], message.NewMessage("x", nil)), distinct, nil},
		"a nil message":                    {list(nil), distinct, nil},
		"one listed twice":                 {list(distinct[1], distinct[1]), distinct, nil},
		"one and its copy":                 {list(distinct[1], distinct[1].Copy()), distinct, nil},
		"its copy and one":                 {list(distinct[1].Copy(), distinct[1]), distinct, nil},
		"one of two with one UUID":         {list(same[2]), same, []int{2}},
		"a copy of one of two":             {list(same[1].Copy()), same, nil},
		"a copy of one without a UUID":     {list(without[1].Copy()), without, nil},
		"one that is published twice":      {list(distinct[1]), twice, []int{1}},
		"both of one published twice":      {list(distinct[1], distinct[1]), twice, []int{1, 2}},
		"a copy of one published twice":    {list(distinct[1].Copy()), twice, nil},
		"a message of a call without any":  {list(distinct[1]), nil, nil},
		"listed without saying why it did": {&events.PublishError{Failed: []events.FailedMessage{{Message: distinct[1]}}}, distinct, []int{1}},
	} {
		errs, ok := events.FailedOf(tt.err, tt.msgs)
		if ok != (tt.failed != nil) || len(errs) != len(tt.msgs) {
			t.Errorf("%s: told %v, %d results for %d messages", name, ok, len(errs), len(tt.msgs))
			continue
		}
		for i, err := range errs {
			if failed := !ok || slices.Contains(tt.failed, i); failed != (err != nil) {
				t.Errorf("%s: message %d: %v", name, i, err)
			}
			if !ok && err != tt.err {
				t.Errorf("%s: message %d: %v, want the error of the call", name, i, err)
			}
		}
	}
}

func TestPublishErrorWithoutAMessageCanBePrinted(t *testing.T) {
	err := &events.PublishError{Topic: "t", Total: 1, Failed: []events.FailedMessage{{Err: io.EOF}, {}}}
	if text := err.Error(); !strings.Contains(text, "nil message: EOF") || !errors.Is(err, io.EOF) {
		t.Error(text)
	}
}
