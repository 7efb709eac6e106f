//go:build !linux

package harness

// pin does nothing: only Linux says which core a process may use.
func pin(int) (unpin func() error, err error) { return func() error { return nil }, nil }
