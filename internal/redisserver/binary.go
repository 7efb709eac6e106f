package redisserver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// serverVariable names the environment variable that names the server.
const serverVariable = "EVENTS_REDIS_SERVER"

// binary returns the path of the server that is to be started.
func binary() (string, error) {
	name := os.Getenv(serverVariable)
	path, err := exec.LookPath(cmp.Or(name, "redis-server"))
	switch {
	case err == nil:
		return path, nil
	case name == "":
		return "", ErrMissing
	}
	return "", fmt.Errorf("%w (%s=%s: %w)", ErrMissing, serverVariable, name, err)
}

// Version tells which server Start starts, in the server's own words.
func Version(ctx context.Context) (string, error) {
	path, err := binary()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	return filepath.Base(path) + ": " + strings.TrimSpace(string(out)), nil
}
