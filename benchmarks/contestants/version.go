package contestants

import (
	"runtime/debug"
	"sync"
)

var dependencies = sync.OnceValue(func() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		versions[dep.Path] = dep.Version
	}
	return versions
})

// libraryVersion returns the module with the version that this program is built
// with, or the module alone where the build does not say.
func libraryVersion(module string) string {
	if version := dependencies()[module]; version != "" {
		return module + " " + version
	}
	return module
}
