package redis

import (
	"errors"

	"github.com/logistically/events/transport"
)

// Crash stops a receiver as the end of its process would: its goroutines end,
// and it releases nothing.
func Crash(tr transport.Receiver) {
	r := tr.(*receiver)
	r.closing.Do(func() {
		r.cancel(errors.New("crashed"))
		r.running.Wait()
		r.waitForCalls()
	})
}

// Reclaim looks once for deliveries whose lease has run out.
func Reclaim(tr transport.Receiver) error {
	r := tr.(*receiver)
	var err error
	for _, s := range r.streams {
		err = errors.Join(err, r.reclaimStream(s))
	}
	return err
}

// Renew renews all leases, those that are fresh as well.
func Renew(tr transport.Receiver) {
	r := tr.(*receiver)
	for _, s := range r.streams {
		if held := r.snapshot(func(e *entry) bool { return e.stream == s }); len(held) > 0 {
			r.extend(s, held)
		}
	}
}
