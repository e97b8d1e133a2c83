package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const largestRequest = 16 << 20

// The first element of the body names the method, its _this the object. Clients write prefixes and
// attribute order each in their own way.
var (
	methodPattern = regexp.MustCompile(`<(?:[\w-]+:)?Body[^>]*>\s*<(?:[\w-]+:)?(\w+)`)
	thisPattern   = regexp.MustCompile(`<(?:[\w-]+:)?_this[^>]*\btype="(?:[\w-]+:)?(\w+)"[^>]*>([^<]*)<`)
)

// onTheWire applies the rules that a SOAP answer cannot express: cut connections and HTTP errors.
func (b *rulebook) onTheWire(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodPost || request.URL.Path != vim25.Path {
			next.ServeHTTP(w, request)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, largestRequest))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		r := b.decide(methodOf(body), objectOf(body), true)
		if r == nil {
			next.ServeHTTP(w, request)
			return
		}
		time.Sleep(r.delay())
		switch r.Outcome {
		case outcomeUnavailable:
			http.Error(w, "503 Service Unavailable (Failed to connect to endpoint)", http.StatusServiceUnavailable)
		case outcomeLoseReply:
			next.ServeHTTP(httptest.NewRecorder(), request)
			panic(http.ErrAbortHandler)
		default:
			panic(http.ErrAbortHandler)
		}
	})
}

func methodOf(body []byte) string {
	if found := methodPattern.FindSubmatch(body); found != nil {
		return string(found[1])
	}
	return ""
}

func objectOf(body []byte) types.ManagedObjectReference {
	if found := thisPattern.FindSubmatch(body); found != nil {
		return types.ManagedObjectReference{Type: string(found[1]), Value: string(found[2])}
	}
	return types.ManagedObjectReference{}
}
