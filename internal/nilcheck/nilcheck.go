// Package nilcheck finds the nil pointers that a comparison of an interface
// with nil does not.
package nilcheck

import "reflect"

// IsNil reports whether v is nil, or holds a nil pointer or function: a method
// called on one of those will most likely panic. Nil maps, slices and channels
// pass, as they are often of use as they are.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func:
		return r.IsNil()
	default:
		return false
	}
}
