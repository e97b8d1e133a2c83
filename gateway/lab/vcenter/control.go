package main

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// control is the rules over HTTP:
//
//	GET    /rules        the rules with their counters
//	POST   /rules        add one; the answer carries its id
//	DELETE /rules        take back all
//	DELETE /rules/{id}   take back one
//	GET    /kinds        the faults a rule may name
func (b *rulebook) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rules", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, b.list()) })
	mux.HandleFunc("GET /kinds", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, faultNames()) })
	mux.HandleFunc("POST /rules", b.postRule)
	mux.HandleFunc("DELETE /rules", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]int{"removed": b.remove(0)})
	})
	mux.HandleFunc("DELETE /rules/{id}", b.deleteRule)
	return mux
}

func (b *rulebook) postRule(w http.ResponseWriter, request *http.Request) {
	r := rule{Probability: 1}
	decoder := json.NewDecoder(http.MaxBytesReader(w, request.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	if err := r.check(); err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusCreated, b.add(r))
}

func (b *rulebook) deleteRule(w http.ResponseWriter, request *http.Request) {
	id, err := strconv.Atoi(request.PathValue("id"))
	if err != nil || id < 1 || b.remove(id) == 0 {
		answer(w, http.StatusNotFound, map[string]string{"error": "no such rule"})
		return
	}
	answer(w, http.StatusOK, map[string]int{"removed": 1})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
