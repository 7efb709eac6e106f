package spool_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching/spool"
)

func TestWhatCannotBeSentIsSentInOrderWhenTheTransportIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := open(t, out, spool.Config{Dir: t.TempDir(), MaxSize: 2})
		check(t, p.Publish("t", msgs("0", "1")...))
		out.becomes(down)
		check(t, p.Publish("t", msgs("2", "3", "4")...))
		check(t, p.Publish("other", msgs("5")...))
		if stats := p.Stats(); stats.Messages != 4 || stats.Bytes == 0 {
			t.Errorf("spooled %+v, want 4 messages", stats)
		}
		<-time.After(time.Minute)
		if stats := p.Stats(); !errors.Is(stats.Err, errDown) {
			t.Errorf("stats %+v", stats)
		}
		out.becomes(nil)
		check(t, p.Publish("t", msgs("6")...)) // It must not overtake.
		check(t, p.Flush(t.Context()))
		check(t, p.Publish("t", msgs("7")...))
		expect(t, out, numbered(0, 8)...)
		if stats := p.Stats(); stats != (spool.Stats{}) {
			t.Errorf("held after all was sent: %+v", stats)
		}
		check(t, p.Close())
	})
}

func TestTheWaitBetweenAttemptsDoublesAndFlushEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: down}
		p := open(t, out, spool.Config{Dir: t.TempDir(), RetryInterval: time.Second})
		check(t, p.Publish("t", msgs("0")...))
		<-time.After(70 * time.Second) // 0, 1, 3, 7, 15, 31, 63 s, and the direct call
		if calls := out.called(); calls != 8 {
			t.Errorf("%d calls", calls)
		}
		out.becomes(nil)
		start := time.Now()
		check(t, p.Flush(t.Context()))
		if took := time.Since(start); took != 0 {
			t.Errorf("Flush took %v", took)
		}
		check(t, p.Close())
	})
}

func TestOnlyWhatFailedIsSpooledAndSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: only(errDown, "1", "3")}
		p := open(t, out, spool.Config{Dir: t.TempDir()})
		check(t, p.Publish("t", msgs("0", "1", "2", "3")...))
		expect(t, out, "0", "2")
		synctest.Wait() // The two are being tried now.
		check(t, p.Publish("t", msgs("4", "5")...))
		out.becomes(only(errDown, "3")) // Now one fails while it is sent from the spool.
		<-time.After(time.Minute)
		expect(t, out, "0", "2", "1")
		out.becomes(nil)
		check(t, p.Flush(t.Context()))
		expect(t, out, "0", "2", "1", "3", "4", "5")
		check(t, p.Close())
	})
}

// A run of one topic that fails keeps those of others behind it.
func TestAFailedTopicIsNotOvertakenByWhatIsSpooledBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: down}
		p := open(t, out, spool.Config{Dir: t.TempDir()})
		check(t, p.Publish("a", msgs("0", "1")...))
		check(t, p.Publish("b", msgs("2")...))
		check(t, p.Publish("a", msgs("3")...))
		out.becomes(only(errDown, "1"))
		<-time.After(time.Minute)
		expect(t, out, "0")
		out.becomes(nil)
		check(t, p.Flush(t.Context()))
		expect(t, out, numbered(0, 4)...)
		check(t, p.Close())
	})
}

func TestARejectedMessageIsReturnedOrSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), &target{fail: only(events.Permanent(errors.New("bad")), "1")}
		p := open(t, out, spool.Config{Dir: dir})
		err := p.Publish("t", msgs("0", "1")...)
		if failed, ok := errors.AsType[*events.PublishError](err); !ok || len(failed.Failed) != 1 || failed.Failed[0].Message.UUID != "1" || p.Stats().Messages != 0 {
			t.Errorf("error %v, %+v", err, p.Stats())
		}
		out.becomes(down)
		check(t, p.Publish("t", msgs("1", "2")...))
		synctest.Wait()
		out.becomes(only(events.Permanent(errors.New("bad")), "1"))
		check(t, p.Flush(t.Context()))
		expect(t, out, "0", "2")
		check(t, p.Close())

		p = open(t, out, spool.Config{Dir: dir}) // They outlive a restart.
		if stats := p.Stats(); stats.Rejected != 1 || stats.Messages != 0 {
			t.Errorf("held %+v", stats)
		}
		rejected, err := p.TakeRejected()
		check(t, err)
		if len(rejected) != 1 || !rejected[0].Message.Equals(msg("1")) || rejected[0].Topic != "t" || rejected[0].Err.Error() != "bad" {
			t.Errorf("rejected %+v", rejected)
		}
		if again, err := p.TakeRejected(); len(again) != 0 || err != nil || p.Stats().Rejected != 0 {
			t.Errorf("still there: %v %v", again, err)
		}
		check(t, p.Close())
	})
}

func TestWhatCloseLeavesIsSentByTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), &target{fail: down}
		cfg := spool.Config{Dir: dir, MaxSize: 3, SegmentBytes: 200}
		p := open(t, out, cfg)
		for _, id := range numbered(0, 10) {
			check(t, p.Publish("t", msg(id)))
		}
		check(t, p.Close())
		p = open(t, out, cfg)
		if got := p.Stats().Messages; got != 10 {
			t.Errorf("%d of 10 are there after a restart", got)
		}
		synctest.Wait()
		out.becomes(only(errDown, "8", "9"))
		<-time.After(time.Minute)
		check(t, p.Close())
		expect(t, out, numbered(0, 8)...)
		out.becomes(nil)
		p = open(t, out, cfg)
		check(t, p.Flush(t.Context()))
		check(t, p.Close())
		expect(t, out, numbered(0, 10)...)
	})
}

func TestMessagesComeOutAsTheyWentIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []*message.Message
		out := &target{fail: down}
		p := open(t, out, spool.Config{Dir: t.TempDir()})
		all := []*message.Message{msg("a"), message.NewMessage("", nil), {UUID: "no metadata"}, message.NewMessage("b", make([]byte, 1<<20))}
		all[0].Payload = []byte{0xE5, 'v', 's', 0x9D, 0, 1, 2}
		check(t, p.Publish("t", all...))
		synctest.Wait()
		out.becomes(func(msgs []*message.Message) error { got = append(got, msgs...); return nil })
		check(t, p.Flush(t.Context()))
		for i, m := range got {
			if !m.Equals(all[i]) {
				t.Errorf("message %d has changed", i)
			}
		}
		if len(got) != len(all) {
			t.Errorf("%d of %d messages", len(got), len(all))
		}
		check(t, p.Close())
	})
}

// A publisher that panics, or ends its goroutine, is one that fails.
func TestABrokenPublisherLosesNothing(t *testing.T) {
	for name, breaks := range map[string]func([]*message.Message) error{
		"panics": func([]*message.Message) error { panic("broken") },
		"exits":  func([]*message.Message) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &target{fail: down}
				p := open(t, out, spool.Config{Dir: t.TempDir()})
				check(t, p.Publish("t", msgs("0")...))
				synctest.Wait()
				out.becomes(breaks)
				check(t, p.Publish("t", msgs("1")...))
				<-time.After(time.Minute)
				if p.Stats().Err == nil {
					t.Error("no error is told")
				}
				out.becomes(nil)
				check(t, p.Flush(t.Context()))
				expect(t, out, "0", "1")
				if name == "panics" {
					out.becomes(breaks)
					check(t, p.Publish("t", msgs("2")...))
					out.becomes(nil)
					check(t, p.Flush(t.Context()))
					expect(t, out, "0", "1", "2")
				}
				check(t, p.Close())
			})
		})
	}
}

func TestShutdownReturnsWhenItsContextEndsThoughThePublisherHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, out := t.TempDir(), &target{fail: down}
		p := open(t, out, spool.Config{Dir: dir})
		check(t, p.Publish("t", msgs("0")...))
		synctest.Wait()
		untilEnd := func(msgs []*message.Message) error {
			<-msgs[0].Context().Done()
			return context.Cause(msgs[0].Context())
		}
		out.becomes(untilEnd)
		<-time.After(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		check(t, p.Close()) // The publisher has heard that its context ended.
		out.becomes(nil)
		p = open(t, out, spool.Config{Dir: dir})
		check(t, p.Flush(t.Context()))
		expect(t, out, "0")
		check(t, p.Close())
	})
}

// What a call has that is under way during Close may need the spool yet.
func TestCloseWaitsForCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		out := &target{fail: func([]*message.Message) error { <-time.After(time.Minute); return errDown }}
		p := open(t, out, spool.Config{Dir: dir})
		published := make(chan error, 1)
		go func() { published <- p.Publish("t", msgs("0")...) }()
		synctest.Wait()
		check(t, p.Close())
		check(t, <-published)
		out.becomes(nil)
		p = open(t, out, spool.Config{Dir: dir})
		check(t, p.Flush(t.Context()))
		expect(t, out, "0")
		check(t, p.Close())
	})
}
