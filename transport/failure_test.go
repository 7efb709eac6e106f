package transport_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func failure(cause error) message.Metadata {
	d := &transport.Delivery{Message: message.NewMessage("1", nil), Topic: "t", ID: "7", Attempt: 2}
	return transport.FailureMetadata(d, cause)
}

func TestFailureSaysWhyAndWhere(t *testing.T) {
	md := failure(fmt.Errorf("wrapped: %w", &events.PanicError{Value: "ouch", Stack: []byte("here")}))
	for key, want := range map[string]string{
		transport.MetadataFailureReason: "wrapped: panic: ouch", transport.MetadataFailureChain: "*fmt.wrapError, *events.PanicError", transport.MetadataFailureStack: "here",
		transport.MetadataFailureTopic: "t", transport.MetadataFailureID: "7", transport.MetadataFailureAttempts: "2",
	} {
		if md[key] != want {
			t.Errorf("%s %q, want %q", key, md[key], want)
		}
	}
}

func TestFailureReasonAndStackAreCutAt4KiB(t *testing.T) {
	const most = 4 << 10
	for _, size := range []int{most, most + 1, 1 << 20} {
		long := strings.Repeat("é", size/2) + strings.Repeat("x", size%2)
		md := failure(fmt.Errorf("%w", &quoting{long, &events.PanicError{Stack: []byte(long)}}))
		for _, key := range []string{transport.MetadataFailureReason, transport.MetadataFailureStack} {
			got := md[key]
			if len(got) > most || len(got) < most-4 || !utf8.ValidString(got) {
				t.Errorf("%d bytes: %s has %d bytes, valid UTF-8: %v", size, key, len(got), utf8.ValidString(got))
			}
			if whole := got == long; whole != (size <= most) || strings.HasSuffix(got, " ...") == whole {
				t.Errorf("%d bytes: %s ends in %q", size, key, got[len(got)-8:])
			}
		}
	}
}

type quoting struct {
	text string
	error
}

func (e *quoting) Error() string { return e.text }
func (e *quoting) Unwrap() error { return e.error } // Panics on a nil pointer, as Error does.

type bad struct{}

func (bad) Error() string { panic("no text") }

func TestFailureOfABrokenErrorIsDescribedAllTheSame(t *testing.T) {
	for _, tt := range []struct {
		cause error
		want  string
	}{
		{nil, "unknown"},
		{(*quoting)(nil), "the error is a nil *transport_test.quoting: return nil for no error"},
		{bad{}, "%!v(PANIC=Error method: no text)"},
		{events.Permanent(errors.New("plain")), "plain"},
		{events.Permanent((*quoting)(nil)), "the error is a nil *transport_test.quoting"},
	} {
		if got := failure(tt.cause)[transport.MetadataFailureReason]; !strings.Contains(got, tt.want) {
			t.Errorf("%T: reason %q, want %q in it", tt.cause, got, tt.want)
		}
	}
}

func TestFailureChainNamesAllErrors(t *testing.T) {
	for _, tt := range []struct {
		cause error
		want  string
	}{
		{errors.New("one"), "*errors.errorString"},
		{errors.Join(io.EOF, &events.ConfigError{}), "*errors.joinError, *errors.errorString, *events.ConfigError"},
		{bad{}, "transport_test.bad"},
		{(*quoting)(nil), "*transport_test.quoting"},
		{errors.Join(slices.Repeat([]error{io.EOF}, 100)...), "*errors.joinError" + strings.Repeat(", *errors.errorString", 31)},
	} {
		if got := failure(tt.cause)[transport.MetadataFailureChain]; got != tt.want {
			t.Errorf("%T: chain %q, want %q", tt.cause, got, tt.want)
		}
	}
}
