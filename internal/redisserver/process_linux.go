package redisserver

import (
	"os/exec"
	"syscall"
)

// tie makes the process die with ours, however ours ends: a test binary that
// crashes, or is killed, runs no cleanup. And it has a process group of its own,
// so that Ctrl-C reaches the test alone, which ends the server when it is done with it.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
