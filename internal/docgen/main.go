// Docgen writes the parts of the documentation that follow from the code:
// docs/API.md, and the list of settings in docs/CONFIGURATION.md. Its test fails when
// they are not up to date.
//
//	go generate ./internal/docgen
package main

//go:generate go run . ../..

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	list, err := packages(root)
	if err != nil {
		log.Fatal(err)
	}
	for name, write := range documents {
		text, err := write(root, list)
		if err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// documents are the generated files, with what makes each of them.
var documents = map[string]func(root string, list []pkg) (string, error){
	"docs/API.md":           api,
	"docs/CONFIGURATION.md": configuration,
}
