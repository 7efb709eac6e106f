package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/logistically/events"
)

// Messages that are never to be sent are set aside in a file of records of its own.

func (s *store) rejectedPath() string { return filepath.Join(s.cfg.Dir, "rejected") }

// reject adds a record to the file.
func (s *store) reject(r record) (err error) {
	f, err := os.OpenFile(s.rejectedPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if _, err = f.WriteAt(appendRecord(nil, r), info.Size()); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("spool: %w", errors.Join(err, f.Truncate(info.Size())))
	}
	s.rejected++
	return nil
}

// readRejected returns the records of the file.
func (s *store) readRejected() (records []record, err error) {
	info, err := os.Stat(s.rejectedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	seg := &segment{path: s.rejectedPath(), size: info.Size()}
	b, err := seg.read(0)
	if err != nil {
		return nil, err
	}
	seg.walk(b, 0, func(r record, _ int64) bool { records = append(records, r); return true }, func(d Damage) { s.damage(seg, d) })
	return records, nil
}

func (s *store) countRejected() (int, error) {
	records, err := s.readRejected()
	return len(records), err
}

// takeRejected returns the messages of the file, and removes it.
func (s *store) takeRejected() ([]events.FailedMessage, error) {
	records, err := s.readRejected()
	if err != nil {
		return nil, err
	}
	if err := removeFile(s.rejectedPath()); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s.rejected = 0
	var failed []events.FailedMessage
	for _, r := range records {
		failed = append(failed, events.FailedMessage{Topic: r.topic, Message: r.msg, Err: errors.New(r.reason)})
	}
	return failed, nil
}
