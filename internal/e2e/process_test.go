package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// envListens says that file 3 is to be closed as soon as SIGTERM is listened to.
const envListens = "EVENTS_E2E_LISTENS"

// startListening starts a process, and returns when it listens to SIGTERM, which
// would end it before; or when it has ended.
func startListening(cmd *exec.Cmd) error {
	ready, listens, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{listens}
	cmd.Env = append(cmd.Env, envListens+"=1")
	err = errors.Join(cmd.Start(), listens.Close())
	if err == nil {
		_, err = io.Copy(io.Discard, ready)
	}
	return errors.Join(err, ready.Close())
}

// listen returns a context that ends with SIGTERM, and says so to who has started us.
func listen() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	if os.Getenv(envListens) != "" {
		_ = os.NewFile(3, "listens").Close() // It says no more than that it is closed.
	}
	return ctx, stop
}
