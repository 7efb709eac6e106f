package redisserver

import (
	"os/exec"
	"runtime"
)

// startTied starts a process whose life is tied to ours, where the system can do
// that: see tie. The channel is closed when the process has ended.
func startTied(cmd *exec.Cmd) (<-chan struct{}, error) {
	tie(cmd)
	started, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		// Linux ties the child to the thread that has started it, and the runtime
		// may end a thread that is nobody's: this one waits for the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // A killed server is no error; a failed start shows in its log.
		}
	}()
	return done, <-started
}
