"""Settings: where a value comes from, which values are refused, and what is never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import settings
from apps.core.setting_values import Fault
from apps.core.settings import Settings, SettingsError, load, read_env_file, tri_state

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.production.example"
SECRET = "f3a9c17be0d24586" * 4
FLAGS = {
    "soft_q_bandit", "debate_mode", "experience_replay", "meta_planner",
    "neural_case_selector", "mcp_tools", "tools_policy",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty directory, so that no `.env` and no `var` of the developer is read."""
    monkeypatch.chdir(tmp_path)


def env_file(text: str, name: str = "my.env") -> str:
    """The path of an env file with this text."""
    path = Path.cwd() / name
    path.write_text(text, encoding="utf-8")
    return str(path)


class TestSources:
    def test_defaults_answer_without_any_setting(self) -> None:
        """An empty environment makes a development service on SQLite."""
        made = load({})
        assert made.ENVIRONMENT == "development"
        assert made.database_url == f"sqlite+aiosqlite:///{Path.cwd() / 'var/dtrag.db'}"
        assert made.artifacts_dir == Path("var/artifacts")

    def test_an_empty_string_counts_as_unset(self) -> None:
        """Container files often set every name; the default holds."""
        assert load({"API_PORT": "", "DTRAG_LLM": "", "SECRET_KEY": ""}) == load({})

    def test_each_source_beats_the_next(self) -> None:
        """Argument, environment, env file, secrets directory, quickstart's file, default."""
        home, secrets = Path.cwd() / "home", Path.cwd() / "secrets"
        home.mkdir()
        secrets.mkdir()
        names = ["API_PORT", "CACHE_TTL", "CACHE_ENTRIES", "DB_POOL_SIZE", "DB_MAX_OVERFLOW"]
        (home / "dtrag.env").write_text("".join(f"{name}=1\n" for name in names))
        for name in names[:4]:
            (secrets / name).write_text("2\n")
        file = env_file("".join(f"{name}=3\n" for name in names[:3]))
        places = {
            "DTRAG_ENV_FILE": file,
            "DTRAG_HOME": str(home),
            "DTRAG_SECRETS_DIR": str(secrets),
        }
        made = load({**places, names[0]: "4", names[1]: "4"}, API_PORT=5)
        assert [getattr(made, name) for name in names] == [5, 4, 3, 2, 1]

    def test_an_empty_value_does_not_hide_a_lower_source(self) -> None:
        """An empty line in a file leaves the word to the next source."""
        file = env_file("API_PORT=\n")
        (Path.cwd() / "var").mkdir()
        (Path.cwd() / "var/dtrag.env").write_text("API_PORT=7\n")
        assert load({"DTRAG_ENV_FILE": file}).API_PORT == 7

    def test_a_dot_env_in_the_working_directory_is_read(self) -> None:
        """That is where a developer puts it."""
        env_file("API_PORT=81\n", ".env")
        assert load({}).API_PORT == 81

    def test_a_named_env_file_replaces_dot_env(self) -> None:
        """Two env files at once would be hard to explain."""
        env_file("API_PORT=81\n", ".env")
        assert load({"DTRAG_ENV_FILE": env_file("")}).API_PORT == 8000

    @pytest.mark.parametrize("name", ["DTRAG_ENV_FILE", "DTRAG_SECRETS_DIR"])
    def test_a_named_place_must_be_there(self, name: str) -> None:
        """A typing error in a path must not mean `no settings`."""
        with pytest.raises(SettingsError, match=f"{name} names 'missing'"):
            load({name: "missing"})

    def test_the_home_given_as_an_argument_is_where_quickstarts_file_is_sought(self) -> None:
        """Tests and commands that choose a home get that home's file."""
        (Path.cwd() / "h").mkdir()
        (Path.cwd() / "h/dtrag.env").write_text("API_PORT=9\n")
        assert load({}, DTRAG_HOME=Path("h")).API_PORT == 9

    def test_subdirectories_of_the_secrets_are_passed_over(self) -> None:
        """Kubernetes keeps `..data` directories beside the files."""
        (Path.cwd() / "s/..data").mkdir(parents=True)
        (Path.cwd() / "s/DTRAG_LLM").write_text("a:b\n")
        assert load({"DTRAG_SECRETS_DIR": "s"}).DTRAG_LLM == "a:b"

    def test_other_things_among_the_secrets_are_passed_over(self) -> None:
        """Only files that are named like variables are read, no key store beside them."""
        (Path.cwd() / "s").mkdir()
        (Path.cwd() / "s/CACHE_TTL").write_text("60\n")
        (Path.cwd() / "s/keystore.p12").write_bytes(b"\xff\xfe\x00")
        assert load({"DTRAG_SECRETS_DIR": "s"}).CACHE_TTL == 60

    def test_foreign_variables_are_passed_over(self) -> None:
        """The environment is full of other programs' names, even awkward ones."""
        foreign = {"PATH": "/bin", "_": "x", "_env_file": "y", "model_config": "z", "self": "s"}
        assert load(foreign) == load({})

    def test_a_home_directory_sign_is_understood(self) -> None:
        """`~` in an env file is expanded by nobody else."""
        made = load({"DTRAG_HOME": "~/dtrag", "ARTIFACTS_DIR": "~/a"})
        assert (made.DTRAG_HOME, made.artifacts_dir) == (
            Path.home() / "dtrag",
            Path.home() / "a",
        )

    def test_the_older_name_of_the_worker_count_is_understood(self) -> None:
        """MAX_WORKERS counts unless the newer name is set."""
        assert load({"MAX_WORKERS": "3"}).WORKER_PROCESSES == 3
        assert load({"MAX_WORKERS": "3", "WORKER_PROCESSES": "2"}).WORKER_PROCESSES == 2


class TestEnvFile:
    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("A=b", "b"),
            ("  export A = b  ", "b"),
            ('A="b c"', "b c"),
            ("A='b # c'", "b # c"),
            ("A=b # comment", "b"),
            ('A="b" # comment', "b"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("A= # comment", ""),
            ("A=${HOME}", "${HOME}"),
            ("A=한글", "한글"),
            ("A=x=y", "x=y"),
        ],
    )
    def test_lines_are_read(self, line: str, value: str) -> None:
        """Quotes and comments as people write them; nothing is interpolated."""
        assert read_env_file(Path(env_file(f"# first\n\n{line}\n"))) == {"A": value}

    def test_a_byte_order_mark_is_passed_over(self) -> None:
        """Some editors write one at the start of a file."""
        assert read_env_file(Path(env_file("\ufeffA=b\n"))) == {"A": "b"}

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("no equals sign", "my.env line 2 is not KEY=VALUE"),
            ("1A=b", "line 2 is not KEY=VALUE"),
            ("A=$(openssl rand -hex 32)", "line 2: A holds a command substitution"),
            ("A='`id`'", "line 2: A holds a command substitution"),
            ("FIRST=2", "line 2: FIRST is given twice"),
            ('A="b', "line 2: A has a quote without its pair"),
            ("A='b'c", "line 2: A has a quote without its pair"),
        ],
    )
    def test_lines_that_could_mean_two_things_are_refused(self, line: str, complaint: str) -> None:
        """The message names file, line and variable, and never quotes the value."""
        with pytest.raises(SettingsError, match=re.escape(complaint)) as raised:
            load({"DTRAG_ENV_FILE": env_file(f"FIRST=1\n{line}\n")})
        assert "openssl" not in str(raised.value)

    def test_a_file_that_is_no_text_is_refused(self) -> None:
        """Not a traceback: one sentence."""
        (Path.cwd() / "binary.env").write_bytes(b"A=\xff\xfe")
        with pytest.raises(SettingsError, match=r"binary\.env cannot be read"):
            load({"DTRAG_ENV_FILE": "binary.env"})

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """No content of a file ends in anything but values or a SettingsError."""
        path = Path.cwd() / "any.env"
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
        try:
            values = read_env_file(path)
        except SettingsError:
            return
        assert all("$(" not in value and "`" not in value for value in values.values())


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ENVIRONMENT", "staging"),
            ("API_PORT", "65536"),
            ("API_PORT", "http"),
            ("WORKER_PROCESSES", "0"),
            ("DB_POOL_SIZE", "-1"),
            ("LOG_LEVEL", "LOUD"),
            ("CACHE_TTL", "-1"),
            ("REQUEST_TIMEOUT_S", "0"),
            ("REQUEST_TIMEOUT_S", "nan"),
            ("METRICS_PUBLIC", "perhaps"),
            ("USE_HYBRID_SEARCH", "perhaps"),
            ("FEATURE_DEBATE_MODE", "perhaps"),
            ("DTRAG_DENSE_WEIGHT", "1.5"),
            ("DTRAG_FUSION", "sum"),
            ("DATABASE_URL", "mysql://user:hidden@h/d"),
            ("DATABASE_URL", "postgresql://user:hidden@h:port/d"),
            ("DATABASE_URL", "just text"),
            ("DATABASE_URL", "sqlite://"),
            ("DATABASE_URL", "sqlite:///:memory:"),
            ("REDIS_URL", "http://user:hidden@h"),
            ("DTRAG_LLM", "gpt"),
            ("DTRAG_LLM", "none,openai:gpt-4.1,gemini"),
            ("DTRAG_RERANKER", "hidden"),
            ("DTRAG_RERANKER", "ftp://h/rerank"),
            ("DTRAG_RERANKER", "http://"),
            ("DTRAG_RERANKER", "http://h:port"),
            ("DTRAG_RERANKER", "http://user:hidden@h/rerank"),
            ("DTRAG_RERANKER", "http://h/a b"),
            ("DTRAG_RERANKER", "http://h/\nx"),
            ("DTRAG_RERANKER", "http://h/#x"),
            ("DTRAG_RERANKER", "llm"),
            ("DTRAG_RERANKER_KEY", "hidden hidden"),
            ("DTRAG_RERANKER_KEY", "hidden\r\nX: y"),
            ("DTRAG_RERANKER_KEY", "비밀hidden"),
            ("DTRAG_RERANKER_TIMEOUT_S", "0"),
            ("DTRAG_RERANKER_TIMEOUT_S", "9"),
        ],
    )
    def test_a_value_that_cannot_be_used_names_its_variable(self, name: str, value: str) -> None:
        """One sentence, with the name, without a password."""
        with pytest.raises(SettingsError, match=name) as raised:
            load({name: value})
        assert "hidden" not in str(raised.value)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("given", "models"),
        [
            ({"DTRAG_LLM": "ollama:qwen3, gemini:x,none"}, ("ollama:qwen3", "gemini:x")),
            ({"GEMINI_API_KEY": "k"}, ("google_genai:gemini-2.5-flash",)),
            ({"GEMINI_API_KEY": "k", "DTRAG_LLM": "none"}, ()),
            ({}, ()),
        ],
    )
    def test_a_reranking_model_must_be_there(
        self, given: dict[str, str], models: tuple[str, ...]
    ) -> None:
        """Otherwise a search would wish for what nobody can do."""
        assert load(given).chat_models == models
        if models:
            assert load({**given, "DTRAG_RERANKER": "llm"}).DTRAG_RERANKER == "llm"
            return
        with pytest.raises(SettingsError, match="DTRAG_RERANKER=llm needs a chat model"):
            load({**given, "DTRAG_RERANKER": "llm"})

    @pytest.mark.parametrize(
        "place", ["http://127.0.0.1:8080", "https://rank.intern/v1/rerank?v=1"]
    )
    def test_a_reranker_may_be_at_home(self, place: str) -> None:
        """A private address is what self-hosting means; none is nobody."""
        made = load({"DTRAG_RERANKER": place, "DTRAG_RERANKER_KEY": "k-hidden"})
        assert place == made.DTRAG_RERANKER
        assert load({"DTRAG_RERANKER": "none"}).DTRAG_RERANKER == ""
        assert "hidden" not in repr(made)

    def test_an_overlap_must_be_smaller_than_the_passage(self) -> None:
        """Otherwise chunking would never end."""
        with pytest.raises(SettingsError, match="DTRAG_CHUNK_OVERLAP"):
            load({"DTRAG_CHUNK_TOKENS": "100", "DTRAG_CHUNK_OVERLAP": "100"})

    def test_weights_sum_to_one(self) -> None:
        """Both given must agree; one alone is enough."""
        with pytest.raises(SettingsError, match="DTRAG_DENSE_WEIGHT"):
            load({"DTRAG_DENSE_WEIGHT": "0.5", "DTRAG_LEXICAL_WEIGHT": "0.6"})
        load({"DTRAG_DENSE_WEIGHT": "0.3", "DTRAG_LEXICAL_WEIGHT": "0.7"})
        load({"DTRAG_DENSE_WEIGHT": "0.3"})

    @pytest.mark.parametrize(
        "secret",
        ["", "short", SECRET[:31], "a" * 64, "ab" * 40, f"change-me-{SECRET}", f"{SECRET}-EXAMPLE"],
    )
    def test_production_refuses_a_weak_secret(self, secret: str) -> None:
        """No secret, a short one, one from an example, or one that is not random."""
        with pytest.raises(SettingsError, match="SECRET_KEY") as raised:
            load({"ENVIRONMENT": "production", "SECRET_KEY": secret})
        assert not secret or secret not in str(raised.value)

    @pytest.mark.parametrize("environment", ["production", "PRODUCTION", "Production"])
    def test_production_takes_a_real_secret(self, environment: str) -> None:
        """However production is spelt, its rules hold."""
        made = load({"ENVIRONMENT": environment, "SECRET_KEY": SECRET})
        assert made.ENVIRONMENT == "production"

    def test_development_needs_no_secret(self) -> None:
        """The first run asks for nothing."""
        assert load({}).SECRET_KEY is None

    def test_settings_do_not_change(self) -> None:
        """What was decided at the start holds until the end."""
        with pytest.raises(ValueError, match="frozen"):
            load({}).API_PORT = 1


class TestAddresses:
    @pytest.mark.parametrize(
        ("given_url", "used"),
        [
            ("postgresql://u:p@h:5432/d", "postgresql+asyncpg://u:p@h:5432/d"),
            ("postgres://u:p@h/d?sslmode=require", "postgresql+asyncpg://u:p@h/d?sslmode=require"),
            ("postgresql+psycopg2://h/d", "postgresql+asyncpg://h/d"),
            ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
            ("postgresql://u@/d?host=/tmp/x", "postgresql+asyncpg://u@/d?host=/tmp/x"),
            ("sqlite:////var/a.db", "sqlite+aiosqlite:////var/a.db"),
            ("sqlite+aiosqlite:///a.db", "sqlite+aiosqlite:///a.db"),
        ],
    )
    def test_a_database_is_reached_by_our_driver(self, given_url: str, used: str) -> None:
        """Whatever driver other programs write into the address."""
        assert load({"DATABASE_URL": given_url}).database_url == used

    @given(
        st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=40),
        st.sampled_from(["SECRET_KEY", "GEMINI_API_KEY", "DATABASE_URL", "REDIS_URL"]),
    )
    def test_nothing_secret_is_in_any_representation(self, word: str, name: str) -> None:
        """Neither repr nor str nor the JSON form of an error shows a secret or a password."""
        value = {
            "DATABASE_URL": f"postgresql://user:{word}@h/d",
            "REDIS_URL": f"redis://:{word}@h/0",
        }.get(name, word)
        made = load({name: value})
        shown = f"{made!r} {made} {[made]}"
        assert word not in shown


class TestFeatures:
    @pytest.mark.parametrize(
        ("text", "value"),
        [(text, "true") for text in ("true", "TRUE", "1", "yes", "On", " on ")]
        + [(text, "false") for text in ("false", "0", "No", "OFF")]
        + [("auto", "auto"), ("Auto", "auto")],
    )
    def test_three_words_in_many_spellings(self, text: str, value: str) -> None:
        """True, false and no opinion."""
        assert tri_state(text) == value
        assert load({"FEATURE_DEBATE_MODE": text}).features == {"debate_mode": value}
        retrieval = load({"USE_RERANKER": text}).USE_RERANKER
        assert retrieval == value

    def test_unset_features_are_not_there(self) -> None:
        """Silence is no opinion."""
        assert load({"FEATURE_DEBATE_MODE": ""}).features == {}

    def test_a_variable_named_features_decides_nothing(self) -> None:
        """Only FEATURE_* counts."""
        assert load({"features": '{"debate_mode": "true"}'}).features == {}


class TestExample:
    def test_every_setting_is_in_the_example_and_nothing_else(self) -> None:
        """An operator finds all names in one file."""
        named = set(read_env_file(EXAMPLE))
        features = {name for name in named if name.startswith("FEATURE_")}
        assert {name.removeprefix("FEATURE_").lower() for name in features} == FLAGS
        fields = {name for name in Settings.model_fields if name.isupper()}
        assert named - features == fields | {"DTRAG_SECRETS_DIR"}

    def test_every_setting_has_a_comment_above_it(self) -> None:
        """Names alone do not explain; a group may share one comment."""
        commented = False
        for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
            assert commented or not line or line.startswith("#"), line
            commented = bool(line) and (commented or line.startswith("#"))

    def test_the_example_holds_the_defaults_and_every_feature_off(self) -> None:
        """Week one of the rollout: every agent vetoed."""
        made = load({"DTRAG_ENV_FILE": str(EXAMPLE), "SECRET_KEY": SECRET})
        assert made.features == dict.fromkeys(FLAGS, "false")
        chosen = {"ENVIRONMENT", "DTRAG_HOME", "SECRET_KEY", "API_HOST", "WORKER_PROCESSES"}
        default = load({})
        for name in {name for name in Settings.model_fields if name.isupper()} - chosen:
            assert getattr(made, name) == getattr(default, name), name

    def test_the_example_as_it_stands_does_not_start(self) -> None:
        """Nobody runs production with a secret from a public file."""
        with pytest.raises(SettingsError, match="SECRET_KEY"):
            load({"DTRAG_ENV_FILE": str(EXAMPLE)})


def test_only_the_environment_of_the_process_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an argument the real environment counts."""
    monkeypatch.setenv("API_PORT", "4321")
    assert settings.load().API_PORT == 4321


class TestFaults:
    """DTRAG_FAULTS, which breaks nodes on purpose."""

    def test_two_kinds(self) -> None:
        """A share of errors, and seconds of delay."""
        made = load({"DTRAG_FAULTS": "debate_mode=error:0.5, meta_planner=slow:1.5"})
        assert dict(made.faults) == {
            "debate_mode": Fault("error", 0.5),
            "meta_planner": Fault("slow", 1.5),
        }
        assert not load({}).faults

    @pytest.mark.parametrize(
        "value",
        ["debate_mode", "=error:1", "x=error", "x=error:1.5", "x=slow:-1", "x=slow:61", "x=gone:1"],
    )
    def test_anything_else_stops_the_start(self, value: str) -> None:
        """The sentence names the variable and the entry."""
        with pytest.raises(SettingsError, match=r"DTRAG_FAULTS.*is not like"):
            load({"DTRAG_FAULTS": value})

    @pytest.mark.parametrize("environment", ["test", "production"])
    def test_only_development_may_break(self, environment: str) -> None:
        """Elsewhere the service does not start with it."""
        given = {"ENVIRONMENT": environment, "SECRET_KEY": SECRET}
        with pytest.raises(SettingsError, match="DTRAG_FAULTS"):
            load({**given, "DTRAG_FAULTS": "debate_mode=error:0.5"})
