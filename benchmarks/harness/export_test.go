package harness

import (
	"testing"
	"time"
)

// SetPatience shortens how long a test waits for what never comes.
func SetPatience(t *testing.T, d time.Duration) {
	before := patience
	patience = d
	t.Cleanup(func() { patience = before })
}
