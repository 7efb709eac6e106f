package router

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Each check of the model handles some thousand messages. A -rapid.checks on
	// the command line comes after this and counts.
	if err := errors.Join(flag.Set("rapid.checks", "10"), flag.Set("rapid.nofailfile", "true")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
