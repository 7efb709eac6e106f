package spool

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// file is what is needed of an *os.File: tests have one that fails.
type file interface {
	ReadAt(b []byte, off int64) (int, error)
	WriteAt(b []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// segment is one of the files, in the order of their numbers.
type segment struct {
	number uint64
	path   string
	size   int64 // that has been written for sure
	left   int   // records that have not been read yet

	scanned bool // its damages have been reported
	damaged bool // it is kept
}

const ending = ".spool"

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", number, ending))
}

// segmentsIn returns the segments of a directory.
func segmentsIn(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var all []*segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ending)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("spool: %s is not a file of a spool: move it away", filepath.Join(dir, e.Name()))
		}
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		all = append(all, &segment{number: number, path: filepath.Join(dir, e.Name()), size: info.Size()})
	}
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

// read returns the rest of the segment after from.
func (s *segment) read(from int64) (b []byte, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	b = make([]byte, max(s.size-from, 0))
	if _, err := f.ReadAt(b, from); err != nil {
		return nil, fmt.Errorf("spool: %s: %w", s.path, err)
	}
	return b, nil
}

// walk calls visit for each record in b, which is the segment from an offset on,
// until visit returns false, and damage for what lies between them. It returns how
// far it came.
func (s *segment) walk(b []byte, offset int64, visit func(r record, end int64) bool, damage func(Damage)) int64 {
	for len(b) > 0 {
		r, skipped, size, ok := next(b)
		if skipped > 0 {
			damage(Damage{File: s.path, Offset: offset, Bytes: int64(skipped), Torn: !ok && torn(b)})
		}
		b, offset = b[skipped+size:], offset+int64(skipped+size)
		if ok && !visit(r, offset) {
			break
		}
	}
	return offset
}

// dispose takes a segment out of the spool that has nothing to send any more.
func (s *segment) dispose() error {
	if s.damaged {
		return os.Rename(s.path, s.path+".damaged")
	}
	return removeFile(s.path)
}

// syncDir makes the creation of files in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return cmp.Or(d.Sync(), d.Close())
}
