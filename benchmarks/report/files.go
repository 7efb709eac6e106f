package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/logistically/events/benchmarks/harness"
)

// ResultsFile is the name of the file that holds a run's results.
const ResultsFile = "results.json"

// ReadResults reads what Write has written as results.json.
func ReadResults(path string) (harness.Results, error) {
	var results harness.Results
	data, err := os.ReadFile(path)
	if err != nil {
		return results, fmt.Errorf("report: read results: %w", err)
	}
	if err := json.Unmarshal(data, &results); err != nil {
		return results, fmt.Errorf("report: results in %s: %w", path, err)
	}
	return results, nil
}

func writeResults(path string, results harness.Results) error {
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("report: results as JSON: %w", err)
	}
	return replaceFile(path, append(data, '\n'))
}

// replaceFile writes a file beside path and renames it, so that a reader, or a
// run that is killed, never meets half a file.
func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: folder for %s: %w", filepath.Base(path), err)
	}
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("report: temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("report: write %s: %w", path, errors.Join(err, os.Remove(file.Name())))
		}
	}()
	if err := fill(file, data); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// fill writes, makes the file readable for all as other files are, and closes it.
func fill(file *os.File, data []byte) error {
	_, err := file.Write(data)
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
