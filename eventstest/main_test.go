package eventstest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeTB is a test that may fail without failing the one that it is a part of.
type fakeTB struct {
	testing.TB
	log strings.Builder
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Errorf(format string, args ...any) { fmt.Fprintf(&f.log, format+"\n", args...) }

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

// failing runs fn as a test of its own, and returns what it fails with.
func failing(t *testing.T, fn func(t testing.TB)) string {
	t.Helper()
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(f)
	}()
	<-done
	return f.log.String()
}
