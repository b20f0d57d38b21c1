"""Traces of runs and steps to an OpenTelemetry collector, without a word of the data in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

from wap.errors import NotInstalledError
from wap.project import Project

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from temporalio.contrib.opentelemetry import TracingInterceptor

#: OpenTelemetry's own variables; either of them asks for traces.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
#: A door does not wait longer for a collector that does not answer.
FLUSH_MILLISECONDS = 3_000


@contextmanager
def tracing(project: Project, env: Mapping[str, str]) -> Iterator[list[TracingInterceptor]]:
    """The client's interceptors that trace; none when the environment names no collector.

    The provider is ours alone and never the process's global one, so that what a library puts
    there (Soda has its own) gets none of our spans, and we none of its.

    Raises:
        NotInstalledError: the extra ``telemetry`` is missing.
    """
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(env.get, _ENDPOINTS)):
        yield []
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import (  # noqa: PLC0415 - extra
            OTELResourceDetector,
            Resource,
        )
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - extra
        from temporalio.contrib.opentelemetry import TracingInterceptor  # noqa: PLC0415 - extra
    except ImportError as exc:
        raise NotInstalledError(
            "traces need OpenTelemetry, and the environment names a collector",
            hint="pip install 'wap-lakehouse[telemetry]', or unset OTEL_EXPORTER_OTLP_ENDPOINT",
        ) from exc
    ours = {
        "service.name": "wap",
        "service.version": metadata.version("wap-lakehouse"),
        "wap.project": project.name,
    }
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins.
    given = OTELResourceDetector().detect().attributes
    resource = Resource.create({k: v for k, v in ours.items() if k not in given})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(_discreet(OTLPSpanExporter())))
    try:
        yield [TracingInterceptor(provider.get_tracer("wap"), always_create_workflow_spans=True)]
    finally:
        provider.force_flush(FLUSH_MILLISECONDS)
        provider.shutdown()


def _discreet(exporter: SpanExporter) -> SpanExporter:
    """An exporter that says that a span failed and by which type, but not its message.

    Messages are for reports and people: they may quote a value that did not fit its column.
    """
    from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415 - extra
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - extra
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.trace import Status  # noqa: PLC0415 - extra

    class Discreet(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return exporter.export([without_messages(span) for span in spans])

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    def without_messages(span: ReadableSpan) -> ReadableSpan:
        events = [
            Event(
                e.name,
                {k: v for k, v in (e.attributes or {}).items() if k == "exception.type"},
                e.timestamp,
            )
            for e in span.events
        ]
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=span.attributes,
            events=events,
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    return Discreet()
