Feature: targeting rules

  Background:
    Given an evaluator

  Scenario Outline: reusable rules
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a key "city", with type "String" and with value "<city>"
    And a context containing a key "age", with type "Integer" and with value "<age>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "<reason>"
    Examples:
      | key        | city  | age | value | reason          |
      | city       | seoul | 1   | 서울  | TARGETING_MATCH |
      | city       | 서울  | 1   | 서울  | TARGETING_MATCH |
      | city       | busan | 1   | 딴 곳 | DEFAULT         |
      | nested-ref | seoul | 20  | yes   | TARGETING_MATCH |
      | nested-ref | seoul | 18  | no    | TARGETING_MATCH |
      | nested-ref | busan | 20  | no    | TARGETING_MATCH |
      | empty-text | seoul | 1   |       | TARGETING_MATCH |

  Scenario: a rule that does not exist
    Given a String-flag with key "dangling-ref" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "mine"
    And the error-code should be "PARSE_ERROR"

  Scenario Outline: beginnings and endings
    Given a String-flag with key "file-name" and a fallback value "mine"
    And a context containing a key "file", with type "String" and with value "<file>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | file        | value  |
      | draft-1.pdf | draft  |
      | a.pdf       | report |
      | a.txt       | other  |

  Scenario Outline: an operator that cannot be applied has no opinion
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a key "number", with type "Integer" and with value "11"
    And a context containing a key "app", with type "String" and with value "1.0.0"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the reason should be "DEFAULT"
    Examples:
      | key              | value   |
      | ends-with-direct | unknown |
      | ends-with-alone  | unknown |
      | bad-relation     | unknown |
      | no-unit          | none    |
      | coin             | edge    |

  Scenario Outline: versions
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a key "app", with type "String" and with value "<app>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | key     | app          | value   |
      | version | 2.1.0        | same    |
      | version | v2.1         | same    |
      | version | 2.1.0+build7 | same    |
      | version | 2.1.1        | newer   |
      | version | 2.10.0       | newer   |
      | version | 2.1.0-rc.1   | older   |
      | version | 2.1.0.0      | unknown |
      | version | latest       | unknown |
      | range   | 3.4.9        | minor   |
      | range   | 3.9.0        | major   |
      | range   | 4.0.0        | none    |

  Scenario Outline: a number where a text is meant
    Given a String-flag with key "<key>" and a fallback value "mine"
    And a context containing a key "app", with type "<type>" and with value "<app>"
    And a context containing a key "file", with type "<type>" and with value "<app>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    Examples:
      | key       | type    | app | value |
      | version   | Float   | 2.1 | same  |
      | version   | Integer | 2   | older |
      | range     | Integer | 3   | major |
      | file-name | Integer | 3   | other |

  Scenario Outline: who it is
    Given a String-flag with key "named-by-truth" and a fallback value "mine"
    And a context containing a targeting key with value "<who>"
    When the flag was evaluated with details
    Then the resolved details value should be "<value>"
    And the variant should be "<variant>"
    And the reason should be "TARGETING_MATCH"
    Examples:
      | who | value | variant |
      | kim | in    | true    |
      | lee | out   | false   |

  Scenario: rules know their flag
    Given a String-flag with key "about-itself" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "yes"

  Scenario: an empty rule is none
    Given a String-flag with key "no-rules" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "second"
    And the reason should be "STATIC"

  Scenario: a rule that names no variant
    Given a String-flag with key "unknown-variant" and a fallback value "mine"
    And a context containing a key "city", with type "String" and with value "seoul"
    When the flag was evaluated with details
    Then the resolved details value should be "mine"
    And the reason should be "ERROR"
    And the error-code should be "GENERAL"

  Scenario: the time of the request
    Given a String-flag with key "clock" and a fallback value "mine"
    When the flag was evaluated with details
    Then the resolved details value should be "after"
