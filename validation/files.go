package validation

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/logistically/events"
)

// AddFS adds the JSON Schemas of a directory, an embed.FS or os.DirFS say: the
// file "order.created.json" is the schema of "order.created", at whatever depth
// below dir it is ("." for all of fsys). It adds all of them or, with an error,
// none. A $ref may point to other files below dir, relative to the one that it
// is in; a file whose name begins with _ is there for just that, and no event
// type. Other files than those that end in .json are left alone. See
// [Registry.AddSchema].
func (r *Registry) AddFS(fsys fs.FS, dir string) error {
	set := schemaSet{registry: r}
	type file struct{ eventType, name, location string }
	var files []file
	seen := map[string]string{}
	err := fs.WalkDir(fsys, dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".json" {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		location := (&url.URL{Scheme: "events", Path: "/" + name}).String()
		if err := set.document(name, location, text); err != nil {
			return err
		}
		eventType := strings.TrimSuffix(path.Base(name), ".json")
		if strings.HasSuffix(eventType, ".defs") {
			return nil
		}
		if other, ok := seen[eventType]; ok {
			return schemaError(eventType, name, fmt.Errorf("%s has a schema of the same event type", other))
		}
		seen[eventType] = name
		files = append(files, file{eventType, name, location})
		return nil
	})
	if _, ok := errors.AsType[*events.ConfigError](err); ok {
		return err
	}
	if err != nil {
		return fmt.Errorf("validation: read schemas of %q: %w", dir, err)
	}
	if len(files) == 0 {
		return &events.ConfigError{Field: "validation.AddFS dir", Value: dir, Problem: "has no schemas in it", Remedy: `name the directory of files such as "order.created.json"`}
	}
	for _, f := range files {
		if err := set.add(f.eventType, f.name, f.location, "#"); err != nil {
			return err
		}
	}
	return set.commit()
}
