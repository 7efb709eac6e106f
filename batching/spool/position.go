package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
)

// position is up to where all has been sent. It is kept in a file of 20 bytes:
// segment, offset, CRC-32C. The file is not synced: if it is old, or damaged, some
// messages are sent again.
type position struct {
	segment uint64
	offset  int64
}

const positionSize = 8 + 8 + 4

func (p position) encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, p.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.offset))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// positionFile is where the position of a directory is kept.
type positionFile struct{ f *os.File }

func openPosition(dir string) (positionFile, position, error) {
	f, err := os.OpenFile(filepath.Join(dir, "position"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return positionFile{}, position{}, fmt.Errorf("spool: %w", err)
	}
	b := make([]byte, positionSize)
	n, _ := f.ReadAt(b, 0) // What cannot be read counts as damaged.
	var p position
	if n == positionSize && crc32.Checksum(b[:16], castagnoli) == binary.LittleEndian.Uint32(b[16:]) {
		p = position{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))}
	}
	pf := positionFile{f}
	// From now on there is room for it, even if the disk is full.
	if err := pf.save(p); err != nil {
		return positionFile{}, position{}, fmt.Errorf("spool: %w", errors.Join(err, f.Close()))
	}
	return pf, p, nil
}

func (pf positionFile) save(p position) error {
	_, err := pf.f.WriteAt(p.encode(), 0)
	return err
}

func (pf positionFile) close() error { return pf.f.Close() }

// removeFile removes a file that may be gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
