//go:build !linux

package redisserver

import "os/exec"

// tie does nothing: only Linux ends a child with its parent. Without that, the
// child stays in our process group, so that Ctrl-C ends it, too.
func tie(*exec.Cmd) {}
