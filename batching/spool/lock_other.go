//go:build !unix || solaris || aix

package spool

import (
	"fmt"
	"os"
	"path/filepath"
)

// lock opens the lock file only: nothing keeps other processes out on this system.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return f, nil
}
