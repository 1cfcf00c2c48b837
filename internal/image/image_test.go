package image_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	goversion "go/version"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// root is the module's folder, where compose.yaml and the Dockerfile are.
const root = "../.."

func TestComposeFollowsItsSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.NewCompiler().Compile("testdata/compose.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(readYAML(t, text)))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	text := readFile(t, "compose.yaml")
	if err := validate(text); err != nil {
		t.Fatal(err)
	}
	// The schema must be able to say no. Links are obsolete, services find each other by
	// name; a container name allows only one; no service leaves the project's network.
	for _, tt := range []struct{ old, wrong string }{
		{"name:", "version: \"3\"\nname:"},
		{"  worker:\n", "  worker:\n    links: [mayfly]\n"},
		{"  worker:\n", "  worker:\n    container_name: worker\n"},
		{"  mayfly:\n", "  mayfly:\n    network_mode: host\n"},
		{"restart: unless-stopped", "restart: sometimes"},
		{"interval: 5s", "interval: 5"},
		{"retries: 3", "retries: three"},
		{"condition: service_healthy", "condition: healthy"},
		{"127.0.0.1:8080:8080", "8080"},
	} {
		if bad := strings.Replace(text, tt.old, tt.wrong, 1); bad == text || validate(bad) == nil {
			t.Errorf("%q in place of %q is accepted", tt.wrong, tt.old)
		}
	}
}

func TestComposePublishesTheGatewayToThisMachineOnly(t *testing.T) {
	t.Parallel()
	var published []string
	for name, service := range readCompose(t).Services {
		for _, port := range service.Ports {
			published = append(published, name+" "+port)
		}
	}
	if len(published) != 1 {
		t.Fatalf("published ports: %q, want one of mayfly", published)
	}
	host, ports, _ := strings.Cut(strings.TrimPrefix(published[0], "mayfly "), ":")
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.IsLoopback() || ports != "8080:8080" {
		t.Errorf("%s: want 8080 of mayfly on a loopback address", published[0])
	}
}

func TestComposeRunsMayflyOnTheExample(t *testing.T) {
	t.Parallel()
	project := readCompose(t)
	mayfly := project.Services["mayfly"]
	if want := []string{"up", "/createtask"}; len(mayfly.Command) < 2 || !slices.Equal(mayfly.Command[:2], want) {
		t.Errorf("command = %q, want it to begin with %q", mayfly.Command, want)
	}
	for _, flag := range []string{"--bus.addr=0.0.0.0:4222", "--bus.open", "--gateway.addr=0.0.0.0:8080", "--gateway.open", "--admin.addr=127.0.0.1:8081"} {
		if !slices.Contains(mayfly.Command, flag) {
			t.Errorf("the command lacks %s", flag)
		}
	}
	if want := []string{"CMD", "/mayfly", "ready", "http://127.0.0.1:8080"}; !slices.Equal(mayfly.Healthcheck.Test, want) {
		t.Errorf("healthcheck = %q, want %q", mayfly.Healthcheck.Test, want)
	}
	mounts := mayfly.mounts()
	if _, ok := project.Volumes[mounts["/data"]]; !ok || !slices.Contains(mayfly.Command, "--data=/data") {
		t.Errorf("the data folder %q is not a declared volume that the command names", mounts["/data"])
	}
	example, readOnly := strings.CutSuffix(mounts["/createtask"], ":ro")
	if !readOnly {
		t.Error("the example is not mounted read-only")
	}
	if _, err := os.Stat(filepath.Join(root, example, "mayfly.yaml")); err != nil {
		t.Errorf("no manifest is mounted: %v", err)
	}
}

func TestComposeScalesTheWorker(t *testing.T) {
	t.Parallel()
	worker := readCompose(t).Services["worker"]
	if worker.Deploy.Replicas != 2 {
		t.Errorf("%d replicas, want 2", worker.Deploy.Replicas)
	}
	if uri := worker.Environment["NATS_URI"]; uri != "nats://mayfly:4222" {
		t.Errorf("NATS_URI = %q", uri)
	}
	if worker.Environment["HEALTH_ADDR"] == "" {
		t.Error("HEALTH_ADDR is not set")
	}
	if on := worker.DependsOn["mayfly"].Condition; len(worker.DependsOn) != 1 || on != "service_healthy" {
		t.Errorf("worker waits for %v, want mayfly to be healthy", worker.DependsOn)
	}
}

func TestComposeBuildsStagesOfTheDockerfile(t *testing.T) {
	t.Parallel()
	stages := readStages(t)
	project := readCompose(t)
	for name, service := range project.Services {
		target := service.Build.Target
		stage, ok := stages[target]
		if !ok {
			t.Errorf("service %s wants the stage %q, which the Dockerfile lacks", name, target)
			continue
		}
		if stage.base != "scratch" {
			t.Errorf("stage %s stands on %s, want scratch", target, stage.base)
		}
		if entry := `ENTRYPOINT ["/` + name + `"]`; !slices.Contains(stage.lines, entry) {
			t.Errorf("stage %s lacks %s", target, entry)
		}
		user := stage.argument("USER ")
		if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user) {
			t.Errorf("stage %s runs as %q, want numbers that are not root's", target, user)
		}
		for folder, source := range service.mounts() {
			if _, volume := project.Volumes[source]; !volume {
				continue
			}
			// A new volume gets the owner of the image's folder at its path.
			if !slices.ContainsFunc(stage.lines, func(line string) bool {
				return strings.HasPrefix(line, "COPY ") && strings.Contains(line, "--chown="+user+" ") && strings.HasSuffix(line, " "+folder)
			}) {
				t.Errorf("stage %s has no folder %s that belongs to %s: the volume would be root's", target, folder, user)
			}
		}
	}
}

// Functions need their interpreters. Everything else is as in the image without them.
func TestImageWithLanguagesRunsFunctions(t *testing.T) {
	t.Parallel()
	stages := readStages(t)
	with, plain := stages["languages"], stages["mayfly"]
	if !strings.HasPrefix(with.base, "node:") || !strings.Contains(strings.Join(with.lines, "\n"), " python3") {
		t.Errorf("it stands on %q; it needs node and python3", with.base)
	}
	if !slices.Contains(with.lines, "COPY --from=build /out/mayfly /usr/local/bin/mayfly") {
		t.Error("it lacks the binary")
	}
	for _, instruction := range []string{"USER ", "CMD ", "EXPOSE ", "VOLUME ", "COPY --from=build --chown="} {
		if got, want := with.argument(instruction), plain.argument(instruction); got != want {
			t.Errorf("%s%s, want %s", instruction, got, want)
		}
	}
}

// Who gets a binary gets the licenses of what it holds.
func TestImagesHoldTheLicenses(t *testing.T) {
	t.Parallel()
	stages := readStages(t)
	for _, name := range []string{"mayfly", "languages"} {
		if !strings.HasPrefix(stages[name].argument("COPY LICENSE "), "NOTICE ") {
			t.Errorf("stage %s holds no NOTICE", name)
		}
	}
	notice := readFile(t, "NOTICE")
	for _, line := range strings.Split(runGo(t, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "./cmd/mayfly"), "\n") {
		if line != "" && !strings.Contains(notice, "\n================ "+line+": ") {
			t.Errorf("NOTICE lacks %s; run: release/licenses > NOTICE", line)
		}
	}
}

func TestDockerfileCopiesWhatItBuilt(t *testing.T) {
	t.Parallel()
	text := readFile(t, "Dockerfile")
	made := map[string]bool{}
	for _, build := range readBuilds(t) {
		made[build.output] = true
	}
	for _, line := range regexp.MustCompile(`(?m)^RUN mkdir (.*)$`).FindAllStringSubmatch(text, -1) {
		for _, folder := range strings.Fields(line[1]) {
			made[folder] = true
		}
	}
	copies := regexp.MustCompile(`(?m)^COPY --from=build (?:--chown=\S+ )?(\S+) `).FindAllStringSubmatch(text, -1)
	if len(copies) == 0 {
		t.Fatal("nothing is copied from the stage build")
	}
	for _, line := range copies {
		if !made[line[1]] {
			t.Errorf("%s is copied but nothing makes it", line[1])
		}
	}
}

// The image names a release, go.mod the oldest Go that will do: same minor version.
func TestDockerfileUsesTheGoOfTheModule(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))
	if version == nil {
		t.Fatal("go.mod names no version of Go")
	}
	base := readStages(t)["build"].base
	tag, ok := strings.CutPrefix(base, "golang:")
	if !ok || goversion.Lang("go"+tag) != goversion.Lang("go"+version[1]) || goversion.Compare("go"+tag, "go"+version[1]) < 0 {
		t.Errorf("the stage build stands on %s, go.mod wants %s", base, version[1])
	}
}

// Scratch has no loader and no libc: a binary that asks for one does not start.
func TestDockerfileBuildsStaticBinaries(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`(?m)^ENV CGO_ENABLED=0$`).MatchString(readFile(t, "Dockerfile")) {
		t.Error("the Dockerfile does not turn cgo off")
	}
	builds := readBuilds(t)
	if len(builds) != 2 {
		t.Fatalf("the Dockerfile builds %d binaries, want mayfly and worker", len(builds))
	}
	folder := t.TempDir()
	args := append(slices.Clone(builds[0].flags), "-o", folder)
	for _, build := range builds {
		if !slices.Equal(build.flags, builds[0].flags) {
			t.Errorf("%s is built with %q, %s with %q", build.pkg, build.flags, builds[0].pkg, builds[0].flags)
		}
		args = append(args, build.pkg)
	}
	runGo(t, args...)
	for _, build := range builds {
		binary := path.Base(build.output)
		file, err := elf.Open(filepath.Join(folder, binary))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP {
				t.Errorf("%s is not static: it names an interpreter", binary)
			}
		}
		if libs, err := file.ImportedLibraries(); err != nil || len(libs) > 0 {
			t.Errorf("%s wants the libraries %q, %v", binary, libs, err)
		}
		wantInBuildContext(t, build.pkg)
	}
}

// wantInBuildContext checks that .dockerignore, which starts from nothing, lets
// through each folder of this module that the package needs.
func wantInBuildContext(t *testing.T, pkg string) {
	t.Helper()
	const module = "github.com/mayfly-run/mayfly"
	allowed := strings.Split(readFile(t, ".dockerignore"), "\n")
	for _, dep := range strings.Fields(runGo(t, "list", "-deps", "-f", "{{.ImportPath}}", pkg)) {
		if dep != module && !strings.HasPrefix(dep, module+"/") {
			continue
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(dep, module), "/"), "/")
		want := "!" + top
		if top == "" {
			want = "!*.go"
		}
		if !slices.Contains(allowed, want) {
			t.Errorf("%s is needed, but .dockerignore has no line %s", dep, want)
		}
	}
}

// A compose is what the tests ask of compose.yaml.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Build       struct{ Target string }
	Command     []string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	Healthcheck struct{ Test []string }
	DependsOn   map[string]struct{ Condition string } `json:"depends_on"`
	Deploy      struct{ Replicas int }
}

// mounts returns what is mounted, by folder; ":ro" follows what is read-only.
func (s service) mounts() map[string]string {
	all := map[string]string{}
	for _, v := range s.Volumes {
		source, folder, _ := strings.Cut(v, ":")
		folder, readOnly := strings.CutSuffix(folder, ":ro")
		if readOnly {
			source += ":ro"
		}
		all[folder] = source
	}
	return all
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	if err := json.Unmarshal(readYAML(t, readFile(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// readYAML returns a YAML document as JSON.
func readYAML(t *testing.T, text string) []byte {
	t.Helper()
	node, err := yamlfile.Parse("compose.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	data, err := node.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A stage is one FROM of the Dockerfile, with the lines up to the next.
type stage struct {
	base  string
	lines []string
}

// argument returns what follows the instruction in its only line.
func (s stage) argument(instruction string) string {
	for _, line := range s.lines {
		if rest, ok := strings.CutPrefix(line, instruction); ok {
			return rest
		}
	}
	return ""
}

func readStages(t *testing.T) map[string]stage {
	t.Helper()
	stages := map[string]stage{}
	name := ""
	for line := range strings.Lines(readFile(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if words := strings.Fields(line); len(words) == 4 && words[0] == "FROM" && words[2] == "AS" {
			name = words[3]
			stages[name] = stage{base: words[1]}
			continue
		}
		s := stages[name]
		s.lines = append(s.lines, line)
		stages[name] = s
	}
	return stages
}

// A build is one go build of the Dockerfile.
type build struct {
	flags       []string // build and its flags, without -o
	output, pkg string
}

func readBuilds(t *testing.T) []build {
	t.Helper()
	var builds []build
	for _, m := range regexp.MustCompile(`\bgo (build .*)-o (\S+) (\S+)`).FindAllStringSubmatch(readFile(t, "Dockerfile"), -1) {
		builds = append(builds, build{flags: strings.Fields(m[1]), output: m[2], pkg: m[3]})
	}
	return builds
}

// runGo runs the go command with cgo off, as the Dockerfile does.
func runGo(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
