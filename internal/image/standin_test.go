//go:build engine

package image_test

import (
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A standIn is a folder of links to this machine's files, which becomes an image in place
// of one that cannot be pulled.
type standIn struct {
	e      *engine
	folder string
}

// standIn begins an image with a shell and commands of busybox.
func (e *engine) standIn(name string, commands ...string) standIn {
	e.t.Helper()
	s := standIn{e, filepath.Join(e.folder, name)}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		e.t.Fatal(err)
	}
	for _, command := range append(commands, "sh") {
		s.link("/bin/"+command, busybox)
	}
	if err := os.Mkdir(s.folder+"/tmp", 0o777); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Chmod(s.folder+"/tmp", 0o777|fs.ModeSticky); err != nil {
		e.t.Fatal(err)
	}
	return s
}

// link has the image hold a file or folder of this machine at path.
func (s standIn) link(path, to string) {
	s.e.t.Helper()
	path = filepath.Join(s.folder, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.e.t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil && !os.IsExist(err) {
		s.e.t.Fatal(err)
	}
}

// load makes the image, with what the links lead to, except for tests and packages that
// users install.
func (s standIn) load(image string, instructions ...string) {
	s.e.t.Helper()
	args := []string{"-ec", `
		folder=$1; shift
		tar -C "$folder" -ch --exclude=testdata --exclude='*_test.go' --exclude=site-packages --exclude=dist-packages . | "$@"`, "sh", s.folder, s.e.client, "import"}
	for _, instruction := range instructions {
		args = append(args, "--change", instruction)
	}
	s.e.run(5*time.Minute, "sh", append(args, "-", image)...)
}

// importGo makes a stand-in for the image of Go: its folder, the modules that this machine
// has, and what it has compiled already.
func (e *engine) importGo() {
	e.t.Helper()
	s := e.standIn("go", "mkdir")
	s.link("/usr/local/go", strings.TrimSpace(runGo(e.t, "env", "GOROOT")))
	runGo(e.t, "mod", "download")
	s.link("/modules", strings.TrimSpace(runGo(e.t, "env", "GOMODCACHE"))+"/cache/download")
	s.linkCompiled("/compiled")
	// A volume for the modules is what a cache mount is: no layer holds them.
	s.load(readStages(e.t)["build"].base, "ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOPROXY=file:///modules GONOSUMDB=* GOTOOLCHAIN=local GOCACHE=/compiled",
		"VOLUME /go/pkg/mod")
}

// linkCompiled links those files of Go's cache that the Dockerfile's builds find there. A
// package that they do not find they compile.
func (s standIn) linkCompiled(path string) {
	s.e.t.Helper()
	cache := strings.TrimSpace(runGo(s.e.t, "env", "GOCACHE"))
	list := []string{"list", "-deps", "-export", "-trimpath", "-f", "{{.BuildID}}"}
	for _, build := range readBuilds(s.e.t) {
		list = append(list, build.pkg)
	}
	for id := range strings.FieldsSeq(runGo(s.e.t, list...)) {
		// The id begins with that of the action, which names an entry: v1, the action's
		// id, that of its output.
		action, _, _ := strings.Cut(id, "/")
		bytes, err := base64.RawURLEncoding.DecodeString(action)
		if err != nil {
			s.e.t.Fatal(err)
		}
		name := hex.EncodeToString(bytes)
		entries, _ := filepath.Glob(filepath.Join(cache, name[:2], name+"*-a"))
		for _, entry := range entries {
			text, err := os.ReadFile(entry)
			if fields := strings.Fields(string(text)); err == nil && len(fields) > 2 {
				output := fields[2][:2] + "/" + fields[2] + "-d"
				s.link(filepath.Join(path, name[:2], filepath.Base(entry)), entry)
				s.link(filepath.Join(path, output), filepath.Join(cache, output))
			}
		}
	}
}

// importLanguages makes a stand-in for the image of Node.js: this machine's, and its
// Python, which the Dockerfile installs with apt-get.
func (e *engine) importLanguages() {
	e.t.Helper()
	s := e.standIn("languages", "rm")
	apt := filepath.Join(s.folder, "bin/apt-get")
	if err := os.WriteFile(apt, []byte("#!/bin/sh\n"), 0o755); err != nil {
		e.t.Fatal(err)
	}
	python := "/usr/bin/python3" // no version manager's
	if !isFile(python) {
		python = "python3"
	}
	files := strings.Fields(e.run(time.Minute, "sh", "-ec", `
		node=$(node -p process.execPath)
		python=$("$1" -c 'import os, sys; print(os.path.realpath(sys.executable))')
		library=$("$1" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
		echo "$node" "$python" "$library"
		if [ -d /usr/share/nodejs ]; then echo /usr/share/nodejs; fi # Debian's Node.js keeps parts of itself there
		ldd "$node" "$python" "$library"/lib-dynload/*.so | grep -o '/[^ :]* (' | tr -d ' (' | sort -u`, "sh", python))
	for _, file := range files {
		s.link(file, file)
	}
	s.link("/bin/node", files[0])
	s.link("/bin/python3", files[1])
	s.load(readStages(e.t)["languages"].base, "ENV PATH=/bin:/usr/bin")
}

// checkout copies what Docker is given, and leaves out what an old engine does not know.
func (e *engine) checkout() {
	e.t.Helper()
	to := filepath.Join(e.folder, "checkout")
	if err := os.CopyFS(to, sources{os.DirFS(root)}); err != nil {
		e.t.Fatal(err)
	}
	cut := func(name string, patterns ...string) {
		text := readFile(e.t, name)
		for _, pattern := range patterns {
			text = regexp.MustCompile(pattern).ReplaceAllString(text, "")
		}
		if err := os.WriteFile(filepath.Join(to, name), []byte(text), 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
	cut("Dockerfile", `(?m)^# syntax=.*\n`, `--mount=\S+ `) // these are for BuildKit
	if e.old {
		cut("compose.yaml", `(?m)^name: .*\n`, `(?m)^ *start_interval: .*\n`)
	}
}

// sources hides what is not part of a build from a copy.
type sources struct{ fs.FS }

func (s sources) ReadDir(name string) (entries []fs.DirEntry, err error) {
	all, err := fs.ReadDir(s.FS, name)
	for _, entry := range all {
		if n := entry.Name(); n != ".git" && n != "node_modules" && n != "bin" && n != "dist" {
			entries = append(entries, entry)
		}
	}
	return entries, err
}
