package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// startProfiles begins to record and returns what writes the profiles. An empty
// dir means none.
func startProfiles(dir string) (stop func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return nil, err
	}
	runtime.SetBlockProfileRate(10_000) // one sample each 10 µs blocked
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		err := file.Close()
		for _, name := range []string{"allocs", "block"} {
			err = errors.Join(err, writeProfile(name, filepath.Join(dir, name+".pprof")))
		}
		return err
	}, nil
}

func writeProfile(name, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.Lookup(name).WriteTo(file, 0); err != nil {
		return errors.Join(fmt.Errorf("write the %s profile: %w", name, err), file.Close())
	}
	return file.Close()
}
