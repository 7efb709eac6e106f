package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// pin gives this process and another one a core each (sched_setaffinity(2)), until
// unpin is called. What runs on two cores that both use is otherwise decided by
// where the system puts them, round by round.
func pin(server int) (unpin func() error, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	cores := coresOf(all)
	if len(cores) < 2 {
		return func() error { return nil }, nil // It is one core each way.
	}
	restore := func() error { return errors.Join(allow(os.Getpid(), all), allow(server, all)) }
	var ours, theirs unix.CPUSet
	ours.Set(cores[0])
	theirs.Set(cores[1])
	if err := errors.Join(allow(os.Getpid(), ours), allow(server, theirs)); err != nil {
		return nil, errors.Join(err, restore())
	}
	procs := runtime.GOMAXPROCS(1) // Two threads of ours would take turns on it.
	return func() error {
		runtime.GOMAXPROCS(procs)
		return restore()
	}, nil
}

func coresOf(set unix.CPUSet) (cores []int) {
	for core := range len(set) * strconv.IntSize {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}

// allow sets the cores of all threads of a process; threads that it starts later
// inherit them. One that is started meanwhile may be missed, so it looks twice.
func allow(pid int, cores unix.CPUSet) error {
	for range 2 {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("threads of process %d: %w", pid, err)
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return fmt.Errorf("thread %q of process %d: %w", t.Name(), pid, err)
			}
			err = unix.SchedSetaffinity(id, &cores)
			if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("sched_setaffinity of thread %d: %w", id, err)
			}
		}
	}
	return nil
}
