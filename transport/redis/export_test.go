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
	})
}
