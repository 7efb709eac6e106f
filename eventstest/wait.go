package eventstest

import (
	"testing/synctest"
	"time"
)

// Wait returns when nothing more happens at this moment of virtual time: all
// that could be delivered is, and every goroutine of the test waits for
// something. Retries that are not due yet, handlers that wait for a timer, and
// events in a buffer that is not full stay as they are.
func (k *Kit) Wait() {
	k.t.Helper()
	k.start()
	synctest.Wait()
	k.check()
}

// Settle lets virtual time run until no event is pending or waiting for a
// retry: each one that was published to a topic has been handled or dead-lettered
// by every group that receives from it. It fails the test if that takes
// longer than [Config.Limit]. Events that are still in a buffer of the code
// under test do not count: see [Kit.Advance].
func (k *Kit) Settle() {
	k.t.Helper()
	limit := time.NewTimer(k.cfg.Limit)
	defer limit.Stop()
	for {
		k.Wait()
		if len(k.pending()) == 0 {
			return
		}
		select {
		case <-k.changed:
		case <-limit.C:
			k.t.Fatalf("eventstest: Settle: after %v %s", k.cfg.Limit, k.describePending())
		}
	}
}

// Advance lets virtual time run for d, and then waits as [Kit.Wait] does. What
// is due by then has happened, such as a flush of a buffer.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	k.start()
	<-time.After(d)
	k.Wait()
}

// start runs the router, once. Its handlers are all there now, and the kit's
// middleware becomes the innermost of the router's own.
func (k *Kit) start() {
	if k.started || k.Router == nil || k.ctx.Err() != nil {
		return
	}
	k.started = true
	k.Router.Use(k.Middleware())
	k.Run(k.Router.Run)
}

// check fails the test if what is to consume events has ended.
func (k *Kit) check() {
	k.t.Helper()
	if errs := k.failures(); len(errs) > 0 {
		k.t.Fatalf("eventstest: what the kit runs has ended: %v", errs[0])
	}
}

// route is a topic and a group that receives from it.
type route struct{ topic, group string }

// pending returns the routes that have events which are not settled.
func (k *Kit) pending() (pending []route) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.routes {
		if k.broker.Unsettled(r.topic, r.group) > 0 {
			pending = append(pending, r)
		}
	}
	return pending
}
