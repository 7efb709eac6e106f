package main

import (
	"context"
	"encoding/json"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Metrics counts what the service handled.
type Metrics struct {
	processed, failed atomic.Int64
}

// count is a middleware of our own: ten lines, Watermill's type.
func (m *Metrics) count(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := next(msg)
		if err != nil {
			m.failed.Add(1)
		} else {
			m.processed.Add(1)
		}
		return produced, err
	}
}

// Handler serves /users/{id}, /health and /metrics. ping asks the transport's
// server whether it is there.
func (s *Service) Handler(ping func(context.Context) error) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.showUser)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), 2*time.Second)
		defer cancel()
		if err := ping(ctx); err != nil {
			s.writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "unhealthy", "error": err.Error()})
			return
		}
		s.writeJSON(w, http.StatusOK, map[string]any{
			"status":    "healthy",
			"transport": "connected",
			"consumer":  s.router.Stats(),
			"publisher": s.related.MemoryStats(),
			"views":     s.views.MemoryStats(),
		})
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		processed, failed := s.metrics.processed.Load(), s.metrics.failed.Load()
		rate := 1.0
		if total := processed + failed; total > 0 {
			rate = float64(processed) / float64(total)
		}
		s.writeJSON(w, http.StatusOK, map[string]any{
			"processedEvents":       processed,
			"failedProcessing":      failed,
			"processingSuccessRate": rate,
		})
	})
	return mux
}

func (s *Service) showUser(w http.ResponseWriter, req *http.Request) {
	id := req.PathValue("id")
	user, ok := s.User(id)
	if !ok {
		s.writeJSON(w, http.StatusNotFound, map[string]any{"error": errUserNotFound.Error()})
		return
	}
	s.viewed(req.Context(), id)
	s.writeJSON(w, http.StatusOK, user)
}

func (s *Service) writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Logger.Warn("write response", "error", err)
	}
}
