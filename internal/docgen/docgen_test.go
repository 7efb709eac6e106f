package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../.."

var parsed = sync.OnceValues(func() ([]pkg, error) { return packages(root) })

func public(t *testing.T) []pkg {
	t.Helper()
	list, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestGeneratedDocumentsAreUpToDate(t *testing.T) {
	for name, write := range documents {
		want, err := write(root, public(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the code says: run go generate ./internal/docgen", name)
		}
	}
}

func TestEveryNameHasALine(t *testing.T) {
	text, err := api(root, public(t))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimSpace(line), "| |") && !strings.Contains(line, "name | |") && !methodOfStd(line) {
			t.Errorf("no comment: %s", line)
		}
		if _, file, ok := strings.Cut(line, "](../"); ok {
			file, _, _ = strings.Cut(file, ")")
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("a link leads nowhere: %v", err)
			}
		}
	}
	for _, name := range []string{"[`Handle`]", "[`Publisher.Publish`]", "[`MetadataType`]", "[`NewSubscriber`](../transport/redis/"} {
		if !strings.Contains(text, name) {
			t.Errorf("%s is not listed", name)
		}
	}
}

// methodOfStd reports whether a row is of a method whose name says it all.
func methodOfStd(line string) bool {
	for _, name := range []string{".Error`", ".String`", ".Unwrap`"} {
		if strings.Contains(line, name) {
			return true
		}
	}
	return false
}
